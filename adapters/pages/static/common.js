// What both faces share: sending, reading streams, and taking HTML that this service rendered.

// The only way by which text becomes HTML here. What passes was rendered and sanitised by the service.
const policy = window.trustedTypes
  ? trustedTypes.createPolicy("lastresort", { createHTML: (html) => html })
  : { createHTML: (html) => html };

export const html = (text) => policy.createHTML(text);

export const $ = (selector, within = document) => within.querySelector(selector);
export const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

export const command = () => [...crypto.getRandomValues(new Uint8Array(16))].map((n) => n.toString(16).padStart(2, "0")).join("");

export class Problem extends Error {
  constructor(status, body) {
    super(body?.title ?? `status ${status}`);
    this.status = status;
    this.kind = (body?.type ?? "").split("#")[1] ?? "";
    this.detail = body?.detail ?? "";
  }
}

// Sends JSON; returns the response, or raises a Problem. A network that fails raises a TypeError, as fetch does.
export async function send(path, body = {}, { accept = "application/json", id = command(), signal } = {}) {
  const response = await fetch(path, {
    method: "POST", signal, redirect: "error", body: JSON.stringify(body),
    headers: { "content-type": "application/json", "x-lastresort-page": "1", "idempotency-key": id, accept },
  });
  if (!response.ok) throw new Problem(response.status, await response.json().catch(() => null));
  return response;
}

export const post = async (path, body, options) => (await send(path, body, options)).json();

// Yields the events of a response that streams; `alive` is called whenever something comes.
export async function* events(response, alive = () => {}) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let kept = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    alive();
    kept += value;
    const blocks = kept.split("\n\n");
    kept = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").filter((line) => !line.startsWith(":")).map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]));
      if (fields.event) yield { name: fields.event, data: JSON.parse(fields.data ?? "{}") };
    }
  }
}

// Who signs out leaves no words behind in this tab.
document.addEventListener("submit", ({ target }) => { if (target.getAttribute("action") === "/auth/out") sessionStorage.clear(); });

// Returns another page of this service as a document.
export async function look(path) {
  const response = await fetch(path, { headers: { accept: "text/html" } });
  if (response.redirected && new URL(response.url).pathname === "/sign-in") throw new Problem(401, null);
  if (!response.ok) throw new Problem(response.status, null);
  return new DOMParser().parseFromString(html(await response.text()), "text/html");
}

// What is being written in one form outlives what is sent by another.
export function keepForms(from, to) {
  for (const form of $$("details[open] form", from)) {
    const same = $(`form[data-form=${form.dataset.form}]`, to);
    if (!same) continue;
    same.closest("details").open = true;
    for (const [name, value] of new FormData(form)) same.elements[name].value = value;
  }
}

// Asks in a dialog; resolves to what was written there, to true where nothing is written, or to null.
export function ask({ title, what = "", yes, value = null, grave = false }) {
  const dialog = $("#ask"), field = $("#ask-field"), input = $("#ask-input"), button = $("#ask-yes");
  $("#ask-title").textContent = title;
  $("#ask-what").textContent = what;
  button.textContent = yes;
  button.className = grave ? "button grave" : "button first";
  field.hidden = value === null;
  input.value = value ?? "";
  dialog.returnValue = "";
  input.onkeydown = (event) => { if (event.key === "Enter" && !event.isComposing) { event.preventDefault(); dialog.close("yes"); } }; // else it would press the first button, which cancels
  dialog.showModal();
  if (value !== null) input.select();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes" ? (value === null ? true : input.value) : null), { once: true });
  });
}
