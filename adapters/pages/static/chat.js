// The chat. The log is the truth: whenever something is over, the page is asked for again and its parts are taken over.
import { $, $$, Problem, ask, command, events, html, look, post, send } from "./common.js";

const body = document.body;
const say = JSON.parse(body.dataset.say);
const most = 950_000; // bytes of attachments as they are sent: a request has a mebibyte at most
let branch = body.dataset.branch;
let reading = null; // the answer that comes: {stop}
let files = [];
let again = 0; // answers that were asked for again, one after the other
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const api = (path) => `/api/v1/branches/${branch}${path}`;
const status = (text) => { $("#status").textContent = text; };

// --- what is seen ---

const scroll = $("#scroll");
const atEnd = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
const toEnd = () => { for (const one of [scroll, $("#main")]) one.scrollTop = one.scrollHeight; }; // a phone scrolls all of it under a banner

function trouble(text) {
  const place = $("#trouble");
  if (!place) return status(text);
  place.textContent = text;
  place.hidden = !text;
}

function article(speaker, text = "") {
  const one = $("#turn").content.firstElementChild.cloneNode(true);
  one.classList.add(speaker);
  $("h2", one).textContent = speaker === "user" ? say.you : say.assistant;
  $(".said", one).textContent = text;
  $("#log").append(one);
  return one;
}

function growing() {
  const one = article("assistant");
  const said = $(".said", one);
  said.innerHTML = html('<div class="whole"></div><div class="grows"><span class="waiting"><i></i><i></i><i></i></span></div>');
  return one;
}

// Takes over the parts of a page as the log has it now. What somebody is writing stays, and so does the focus.
async function refresh() {
  const page = await look(location.pathname + location.search);
  const end = atEnd(), focused = document.activeElement?.id, kind = $("#below").dataset.kind;
  for (const id of ["log", "top", "chats", "inspector"]) $(`#${id}`)?.replaceWith($(`#${id}`, page));
  if (page.title) document.title = page.title;
  const written = $("#message")?.value ?? "";
  if ($("#below", page).dataset.kind !== kind || kind !== "open") {
    $("#below").replaceWith($("#below", page));
    if ($("#message")) { $("#message").value = written; arm(); } else if (written) body.dataset.kept = written;
  }
  for (const name of ["waits", "conversation"]) body.dataset[name] = page.body.dataset[name];
  if (end) toEnd();
  if (focused && document.activeElement === body) document.getElementById(focused)?.focus();
  if (focused === "message" && !$("#message")) $("#banner-title")?.focus();
}

const answers = () => { const last = $$("#log .turn.assistant").at(-1); return last ? $(".said", last).textContent.trim() : ""; };

function busy(is) {
  if ($("#stop")) $("#stop").hidden = !is;
  if ($("#send")) $("#send").hidden = is;
}

// --- an answer ---

// Reads an answer until it is over; comes back to it after the network or the service was gone.
async function read(begin, one = growing()) {
  const whole = $(".whole", one), grows = $(".grows", one);
  let turn = Number(body.dataset.waits) || null, ask_for = begin, tries = 0, over = null, stopped = false;
  reading = { stop: () => { stopped = true; return post(api("/stop")).catch(() => null); } };
  busy(true);
  status(say.answering);
  while (!over) {
    try {
      const response = await ask_for();
      whole.textContent = "";
      for await (const event of events(response)) {
        const end = atEnd();
        tries = 0;
        if (event.name === "turn") turn = event.data.turn;
        else if (event.name === "words") {
          whole.insertAdjacentHTML("beforeend", html(event.data.whole));
          grows.innerHTML = html(event.data.grows);
        } else if (event.name === "over") over = event.data;
        if (end) toEnd();
      }
      if (!over) throw new TypeError("it broke off");
    } catch (error) {
      // Only what may pass is tried again: the network, a service that stops or starts, somebody who wrote first.
      if ((error instanceof Problem && ![409, 503].includes(error.status)) || tries++ > 60) { over = { how: "error", status: error.status }; break; }
      status(say.reconnecting);
      await pause(Math.min(3000, 200 * 2 ** Math.min(tries, 4)));
      if (turn) ask_for = () => rejoin(turn);
    }
  }
  reading = null;
  busy(false);
  return finish(over, one, stopped);
}

// Returns the answer to a turn: the one that is under way, or else the recorded one, or one that is asked for now.
async function rejoin(turn) {
  const response = await fetch(`/chat/c/${branch}/turns/${turn}`);
  if (response.status === 200) return response;
  if (response.status !== 204) throw new Problem(response.status, null);
  return send(`/chat/c/${branch}/resume`, {}, { accept: "text/event-stream" });
}

async function finish(over, one, stopped) {
  if (over?.how === "error") {
    one.remove();
    trouble(over.status === 401 ? say.sign_in_again : say.failed);
    status("");
  }
  for (let tries = 0; tries < 60; tries++) {
    const error = await refresh().then(() => null, (failed) => failed);
    if (!error) break;
    if (error instanceof Problem && error.status !== 503) { trouble(error.status === 401 ? say.sign_in_again : say.failed); return null; }
    status(say.reconnecting);
    await pause(500);
  }
  if (over?.how === "error") return offer();
  // A service that stops breaks off what it cannot finish: the next one is asked for it.
  if (!Number(body.dataset.waits)) again = 0;
  else return stopped || again++ > 5 ? offer() : resume();
  // One word for those who do not see it, and the answer once: not each word as it came.
  status(`${answers()} ${$("#banner-title")?.textContent ?? say.answered}`);
  return null;
}

// Offers to ask for an answer again that did not come.
function offer() {
  if (!Number(body.dataset.waits)) return;
  const line = document.createElement("p"), button = document.createElement("button");
  line.className = "window";
  button.className = "button";
  button.textContent = say.answer_again;
  button.addEventListener("click", () => { line.remove(); trouble(""); resume(); });
  line.append(button);
  $("#log").append(line);
  toEnd();
}

const resume = () => { const turn = Number(body.dataset.waits); return read(() => rejoin(turn)); };

// --- what is sent ---

async function speak(text, act = null) {
  if (reading) return;
  trouble("");
  const id = command(), content = files.length ? [...files.map((file) => file.block), ...(text ? [{ type: "text", text }] : [])] : text;
  $(".hello")?.remove();
  const mine = article("user", text || files.map((file) => file.name).join(", "));
  toEnd();
  try {
    if (!branch) {
      const made = await post("/chat", { title: text || files[0]?.name || "" }, { id });
      branch = made.branch;
      body.dataset.branch = branch;
      history.replaceState(null, "", `/chat/c/${branch}`);
    }
  } catch (error) {
    mine.remove();
    restore(text);
    trouble(error.status === 401 ? say.sign_in_again : say.failed);
    return;
  }
  files = [];
  showFiles();
  await read(() => send(`/chat/c/${branch}/turns`, { content, act }, { accept: "text/event-stream", id }));
}

function restore(text) {
  const message = $("#message");
  if (message && !message.value) { message.value = text; message.focus(); }
}

async function open(kind, turn, text) {
  try {
    const made = await post(api(`/${kind}`), kind === "edits" ? { turn, content: text } : { turn });
    if (made.branch) location.assign(`/chat/c/${made.branch}`);
    else trouble(say.failed);
  } catch { trouble(say.failed); }
}

// --- editing ---

function edit(one, text = null) {
  if ($(".editing", one)) return $(".editing textarea", one).focus();
  const said = $(".said", one), acts = $(".acts", one), form = document.createElement("form");
  form.className = "editing";
  form.innerHTML = html('<textarea dir="auto"></textarea><p class="choices"><span class="note"></span><button type="button" class="button"></button><button class="button first"></button></p>');
  const area = $("textarea", form), [cancel, yes] = $$("button", form);
  area.value = text ?? said.textContent;
  area.setAttribute("aria-label", say.edit);
  area.rows = Math.min(12, area.value.split("\n").length + 2);
  $(".note", form).textContent = text ? `${say.kept_words} ${say.edit_what}` : say.edit_what;
  cancel.textContent = say.cancel;
  yes.textContent = say.edit_send;
  const close = () => { form.remove(); said.hidden = acts.hidden = false; $("[data-act=edit]", one)?.focus(); };
  cancel.addEventListener("click", close);
  form.addEventListener("keydown", (event) => { if (event.key === "Escape") { event.stopPropagation(); close(); } if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(); } });
  form.addEventListener("submit", (event) => { event.preventDefault(); if (area.value.trim()) open("edits", Number(one.dataset.version), area.value); });
  said.hidden = acts.hidden = true;
  one.append(form);
  area.focus();
  one.scrollIntoView({ block: "nearest" });
  return null;
}

const editLatest = (text = null) => { const last = $$("#log .turn.user").filter((one) => $("[data-act=edit]", one)).at(-1); if (last) edit(last, text); };

// --- attachments ---

const base64 = (file) => new Promise((resolve, reject) => { const reader = new FileReader(); reader.onload = () => resolve(reader.result.split(",")[1] ?? ""); reader.onerror = reject; reader.readAsDataURL(file); });

// What a file is sent as; nothing if it is of no kind that can be read. Of many kinds of text browsers do not know the type.
async function blockOf(file) {
  const kind = /^image\/(?:png|jpeg|gif|webp)$/.test(file.type) ? "image" : file.type === "application/pdf" ? "document" : null;
  if (kind) return { type: kind, ...(kind === "document" && { title: file.name }), source: { type: "base64", media_type: file.type, data: await base64(file) } };
  if (!/^$|^text\/|^application\/.*(?:json|xml|yaml|toml|javascript|sql)/.test(file.type)) return null;
  try {
    const data = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    return data.includes("\0") ? null : { type: "document", title: file.name, source: { type: "text", media_type: "text/plain", data } };
  } catch { return null; }
}

async function attach(chosen) {
  trouble("");
  for (const file of chosen) {
    if (file.size > most) { trouble(say.too_large); continue; }
    const block = await blockOf(file), size = new Blob([JSON.stringify(block)]).size;
    if (!block) trouble(say.wrong_kind);
    else if (files.reduce((sum, one) => sum + one.size, size) > most) trouble(say.too_large);
    else files.push({ name: file.name, size, block });
  }
  showFiles();
}

function showFiles() {
  const list = $("#files");
  if (!list) return;
  list.replaceChildren(...files.map((file, place) => {
    const item = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    button.className = "chip";
    button.textContent = `${file.name} ×`;
    button.setAttribute("aria-label", `${say.remove}: ${file.name}`);
    button.addEventListener("click", () => { files.splice(place, 1); showFiles(); $("#message").focus(); });
    item.append(button);
    return item;
  }));
}

// --- acts ---

const acts = {
  side: () => { const open_now = body.classList.toggle("side-open"); (open_now ? $("#side a") : $(".top [data-act=side]"))?.focus(); },
  keys: () => $("#keys").showModal(),
  try: (button) => speak(button.textContent),
  stop: () => reading?.stop(),
  edit: (button) => edit(button.closest(".turn")),
  retry: (button) => open("retries", Number(button.closest(".turn").dataset.version)),
  copy: async (button) => { await navigator.clipboard?.writeText($(".said", button.closest(".turn")).innerText); status(say.copied); button.title = say.copied; },
  "edit-earlier": () => editLatest(body.dataset.kept || null),
  end: async () => { if (await ask({ title: say.end_ask, what: say.end_what, yes: say.end_go_on })) speak(say.end_request, "request_end"); },
  "confirm-end": () => speak(say.end_confirm_words, "confirm_end"),
  leave: async () => { await post(api("/leave")).catch(() => null); sessionStorage.setItem("said", say.left); location.assign("/chat"); },
  rename: async () => {
    const title = await ask({ title: say.rename, yes: say.save, value: $("#title").textContent });
    if (title?.trim()) await post(`/api/v1/conversations/${body.dataset.conversation}/metadata`, { title: title.trim() }).then(refresh).catch(() => trouble(say.failed));
  },
  delete: async () => {
    if (!(await ask({ title: say.delete_ask, what: say.delete_what, yes: say.delete, grave: true }))) return;
    const done = await post(`/chat/c/${branch}/erasure`).catch(() => null);
    if (!done) return trouble(say.failed);
    if (!done.erased) { trouble(say.not_deleted); return status(say.not_deleted); }
    sessionStorage.setItem("said", say.deleted);
    return location.assign("/chat");
  },
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button) { acts[button.dataset.act]?.(button); button.closest("details.menu")?.removeAttribute("open"); }
  else if (!event.target.closest("details.menu")) $("details.menu[open]")?.removeAttribute("open");
  if (body.classList.contains("side-open") && !event.target.closest("#side, [data-act=side]")) body.classList.remove("side-open");
});

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.id === "composer") {
    event.preventDefault();
    const message = $("#message"), text = message.value;
    if ((!text.trim() && !files.length) || reading) return;
    message.value = "";
    fit();
    await speak(text);
  } else if (form.dataset.form === "feedback" || form.dataset.form === "appeal") {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(form));
    const sent = form.dataset.form === "feedback" ? { rating: given.rating ?? null, content: given.content || null } : { content: given.content || null };
    if (form.dataset.form === "feedback" && !sent.rating && !sent.content) return;
    await post(api(form.dataset.form === "feedback" ? "/feedback" : "/appeals"), sent).then(refresh).then(() => $("#banner-title")?.focus()).catch(() => status(say.failed));
  }
});

document.addEventListener("keydown", (event) => {
  const control = event.ctrlKey || event.metaKey;
  if (event.key === "Escape" && !$("dialog[open]")) {
    if (body.classList.contains("side-open")) acts.side();
    else if ($("details.menu[open]")) $("details.menu[open]").removeAttribute("open");
    else if (reading) reading.stop();
  } else if (control && event.key === "/") { event.preventDefault(); acts.keys(); }
  else if (control && event.key.toLowerCase() === "k") { event.preventDefault(); body.classList.add("side-open"); $("#search").focus(); }
  else if (control && event.shiftKey && event.key.toLowerCase() === "o") { event.preventDefault(); location.assign("/chat"); }
});

// --- the composer ---

function fit() {
  const message = $("#message");
  if (!CSS.supports("field-sizing", "content")) { message.rows = Math.min(10, message.value.split("\n").length); }
}

function arm() {
  const message = $("#message");
  if (!message) return;
  message.addEventListener("input", fit);
  message.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); $("#composer").requestSubmit(); }
    else if (event.key === "ArrowUp" && !message.value) { event.preventDefault(); editLatest(); }
  });
  message.addEventListener("paste", (event) => { if (event.clipboardData.files.length) { event.preventDefault(); attach([...event.clipboardData.files]); } });
  $("#file").addEventListener("change", (event) => { attach([...event.target.files]); event.target.value = ""; });
}

document.addEventListener("toggle", (event) => {
  if (!event.target.open || !event.target.closest(".after")) return;
  scroll.scrollTop = scroll.scrollHeight; // what it is about stays in sight
  event.target.scrollIntoView({ block: "nearest" });
}, true);

$("#language").addEventListener("change", (event) => {
  document.cookie = `lang=${event.target.value}; path=/; max-age=31536000; samesite=lax`;
  location.reload();
});
arm();
toEnd();
const left = sessionStorage.getItem("said");
if (left) { sessionStorage.removeItem("said"); trouble(left); status(left); }
if (Number(body.dataset.waits)) resume();
else if (!matchMedia("(pointer: coarse)").matches) $("#message")?.focus({ preventScroll: true });
