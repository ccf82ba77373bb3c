// The chat. The log is the truth: whenever something is over, the page is asked for again and its parts are taken over.
import { $, $$, Problem, ask, command, events, html, keepForms, look, post, send } from "./common.js";
import { arrive, crosses, holding, keepsFocus, takeTurns, toEnd } from "./reading.js";

const body = document.body;
const say = JSON.parse(body.dataset.say);
const most = 950_000; // bytes of attachments as they are sent: a request has a mebibyte at most
let branch = body.dataset.branch;
const silence = 30_000; // the service says that it is alive every ten seconds
let reading = null; // the answer that comes: {stop, cut}
let files = [];
let again = 0; // answers that were asked for again, one after the other
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); addEventListener("online", resolve, { once: true }); });
const api = (path) => `/api/v1/branches/${branch}${path}`;
const status = (text) => { $("#status").textContent = text; };

// --- what is seen ---

const compose = () => { if (!matchMedia("(pointer: coarse)").matches) $("#message")?.focus({ preventScroll: true }); };

function line(id, text) {
  const place = $(id);
  place.textContent = text;
  place.hidden = !text;
  if (text) place.scrollIntoView({ block: "nearest" });
}

const trouble = (text) => line("#trouble", text);
const wrong = (error) => trouble(error?.status === 401 ? say.sign_in_again : say.failed);

// Says something that is not wrong, to those who see it and to those who do not.
function notice(text, good = false) {
  $("#notice").classList.toggle("good", good);
  line("#notice", text);
  if (text) status(text);
}

function article(speaker, text = "", attached = []) {
  const one = $("#turn").content.firstElementChild.cloneNode(true);
  one.classList.add(speaker);
  $("h2", one).textContent = speaker === "user" ? say.you : say.assistant;
  $(".said", one).textContent = text;
  $(".said", one).hidden = speaker === "user" && !text;
  if (attached.length) $(".said", one).before(list(attached.map(({ name, block }) => seen(name, block.type === "image" ? `data:${block.source.media_type};base64,${block.source.data}` : null))));
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
  const kind = $("#below").dataset.kind, back = holding();
  takeTurns($("#log"), $("#log", page));
  for (const id of ["top", "chats", "inspector"]) if (!$(`#${id}`)?.isEqualNode($(`#${id}`, page))) $(`#${id}`)?.replaceWith($(`#${id}`, page));
  if (page.title) document.title = page.title;
  const written = $("#message")?.value ?? "";
  if ($("#below", page).dataset.kind !== kind || kind !== "open") {
    keepForms($("#below"), $("#below", page));
    $("#below").replaceWith($("#below", page));
    if ($("#message")) { $("#message").value = written; arm(); } else if (written) body.dataset.kept = written;
    showFiles();
  }
  for (const name of ["waits", "conversation"]) body.dataset[name] = page.body.dataset[name];
  back();
}

const answers = () => { const last = $$("#log .turn.assistant").at(-1); return last ? $(".said", last).textContent.trim() : ""; };

function busy(is) {
  if (["send", "stop"].includes(document.activeElement?.id)) compose(); // one of them goes
  if ($("#stop")) $("#stop").hidden = !is;
  if ($("#send")) $("#send").hidden = is;
}

// --- an answer ---

// Reads an answer until it is over; comes back to it after the network or the service was gone.
async function read(begin, one = growing()) {
  const whole = $(".whole", one), grows = $(".grows", one);
  let turn = Number(body.dataset.waits) || null, ask_for = begin, tries = 0, over = null, stopped = false;
  reading = { stop: () => { stopped = true; return post(api("/stop")).catch(() => null); } };
  let watch = 0;
  const alive = () => { clearTimeout(watch); watch = setTimeout(() => reading?.cut(), silence); };
  busy(true);
  status(say.answering);
  while (!over) {
    const cut = new AbortController();
    reading.cut = () => cut.abort();
    alive();
    try {
      const response = await ask_for(cut.signal);
      whole.textContent = "";
      for await (const event of events(response, alive)) {
        if (tries) notice("");
        tries = 0;
        if (event.name === "turn") turn = event.data.turn;
        else if (event.name === "words") {
          whole.insertAdjacentHTML("beforeend", html(event.data.whole));
          grows.innerHTML = html(event.data.grows);
        } else if (event.name === "over") over = event.data;
      }
      if (!over) throw new TypeError("it broke off");
    } catch (error) {
      // Only what may pass is tried again: the network, a service that stops or starts, somebody who wrote first.
      if ((error instanceof Problem && ![409, 503].includes(error.status)) || tries > 60) { over = { how: "error", status: error.status }; break; }
      tries += navigator.onLine || !tries ? 1 : 0; // without a network it is waited for, as long as it takes
      if ($("#notice").hidden) notice(say.reconnecting);
      await pause(Math.min(3000, 200 * 2 ** Math.min(tries, 4)));
      if (turn) ask_for = (signal) => rejoin(turn, signal);
    }
  }
  clearTimeout(watch);
  reading = null;
  busy(false);
  return finish(over, one, stopped);
}

// Returns the answer to a turn: the one that is under way, or else the recorded one, or one that is asked for now.
async function rejoin(turn, signal) {
  const response = await fetch(`/chat/c/${branch}/turns/${turn}`, { signal });
  if (response.status === 200) return response;
  if (response.status !== 204) throw new Problem(response.status, null);
  return send(`/chat/c/${branch}/resume`, {}, { accept: "text/event-stream", signal });
}

addEventListener("offline", () => reading?.cut()); // a stream that is cut off may say nothing of it for minutes

async function finish(over, one, stopped) {
  if (over?.how === "error") {
    one.remove();
    wrong(over);
    status("");
  }
  for (let tries = 0; tries < 60; tries++) {
    const error = await refresh().then(() => null, (failed) => failed);
    if (!error) break;
    if (error instanceof Problem && error.status !== 503) { wrong(error); return null; }
    notice(say.reconnecting);
    await pause(500);
  }
  notice("");
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
  button.addEventListener("click", () => { line.remove(); compose(); trouble(""); resume(); });
  line.append(button);
  $("#log").append(line);
  toEnd();
}

const resume = () => { const turn = Number(body.dataset.waits); return read((signal) => rejoin(turn, signal)); };

// --- what is sent ---

async function speak(text, act = null) {
  if (reading) return;
  trouble("");
  notice("");
  const id = command(), content = files.length ? [...files.map((file) => file.block), ...(text ? [{ type: "text", text }] : [])] : text;
  $(".hello")?.remove();
  const mine = article("user", text, files);
  if (document.activeElement === body) compose();
  toEnd();
  try {
    if (!branch) {
      const made = await post("/chat", { title: text || files[0]?.name || "" }, { id });
      branch = made.branch;
      body.dataset.branch = body.dataset.conversation = branch;
      history.replaceState(null, "", `/chat/c/${branch}`);
    }
  } catch (error) {
    mine.remove();
    restore(text);
    wrong(error);
    return;
  }
  files = [];
  showFiles();
  await read((signal) => send(`/chat/c/${branch}/turns`, { content, act }, { accept: "text/event-stream", id, signal }));
}

function restore(text) {
  const message = $("#message");
  if (message && !message.value) { message.value = text; message.focus(); keep(draft(), text); }
}

async function open(path, sent, kept = null) {
  try {
    const made = await post(path, sent);
    if (!made.branch) return wrong();
    keep(kept, "");
    location.assign(`/chat/c/${made.branch}`);
  } catch (error) { wrong(error); }
  return null;
}

// --- what is being written, in this tab alone, until it is sent ---

const draft = (turn = "") => `draft ${body.dataset.conversation} ${branch} ${turn}`;

function keep(name, text) {
  if (!name) return;
  try { if (text) sessionStorage.setItem(name, text); else sessionStorage.removeItem(name); } catch { /* it is longer than a browser keeps */ }
}

const forget = () => Object.keys(sessionStorage).filter((name) => name.startsWith(`draft ${body.dataset.conversation} `)).forEach((name) => sessionStorage.removeItem(name));

// --- editing ---

function edit(one, text = null) {
  if ($(".editing", one)) return $(".editing textarea", one).focus();
  const said = $(".said", one), acts = $(".acts", one), beside = $(".attached", one), form = document.createElement("form");
  const turn = Number(one.dataset.version), name = draft(turn), without = [];
  form.className = "editing";
  form.innerHTML = html('<textarea dir="auto"></textarea><p class="choices"><span class="note"></span><button type="button" class="button"></button><button class="button first"></button></p>');
  const area = $("textarea", form), [cancel, yes] = $$("button", form);
  if (text) { keep(name, text); keep(draft(), ""); }
  area.value = text ?? sessionStorage.getItem(name) ?? said.textContent;
  if (beside) form.prepend(list($$("li", beside).map((item) => removable($(".chip", item)?.textContent ?? $("img", item).alt, $("img", item)?.src, (button) => { without.push(Number(item.dataset.block)); button.parentElement.remove(); area.focus(); }))));
  area.setAttribute("aria-label", say.edit);
  area.rows = Math.min(12, area.value.split("\n").length + 2);
  $(".note", form).textContent = text ? `${say.kept_words} ${say.edit_what}` : say.edit_what;
  cancel.textContent = say.cancel;
  yes.textContent = say.edit_send;
  const shown = (is) => { for (const part of [said, acts, beside]) if (part) part.hidden = !is || (part === said && !said.textContent); };
  const close = () => { keep(name, ""); form.remove(); shown(true); $("[data-act=edit]", one)?.focus(); };
  area.addEventListener("input", () => keep(name, area.value));
  cancel.addEventListener("click", close);
  form.addEventListener("keydown", (event) => { if (event.key === "Escape") { event.stopPropagation(); close(); } if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(); } });
  form.addEventListener("submit", (event) => { event.preventDefault(); if (area.value.trim() || $(".chip", form)) open(`/chat/c/${branch}/edits`, { turn, words: area.value, without }, name); });
  shown(false);
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

const showFiles = () => $("#files")?.replaceChildren(...files.map((file, place) => removable(file.name, null, () => { files.splice(place, 1); showFiles(); $("#message").focus(); })));

function list(items) {
  const made = document.createElement("ul");
  made.className = "attached";
  made.append(...items);
  return made;
}

// An attachment in such a list: the picture, or the name.
function seen(name, picture, chip = document.createElement("span")) {
  const item = document.createElement("li"), image = document.createElement("img");
  chip.className = "chip";
  if (picture) { image.src = picture; image.alt = name; }
  if (picture && chip.tagName === "SPAN") item.append(image);
  else { chip.append(picture ? image : name); item.append(chip); }
  return item;
}

function removable(name, picture, remove) {
  const button = document.createElement("button"), item = seen(name, picture, button);
  button.type = "button";
  button.append(" ×");
  button.setAttribute("aria-label", `${say.remove}: ${name}`);
  button.addEventListener("click", () => remove(button));
  return item;
}

// --- acts ---

// Sends an act, and says what came of it if it is not done; returns whether it is.
async function done(path, sent, refused) {
  trouble("");
  const said = await post(path, sent).catch((error) => { wrong(error); return null; });
  if (said?.refused) trouble(refused);
  return Boolean(said) && !said.refused;
}

const acts = {
  side: () => { const open_now = body.classList.toggle("side-open"); (open_now ? $("#side a") : $(".top [data-act=side]"))?.focus(); },
  keys: () => $("#keys").showModal(),
  try: (button) => speak(button.textContent),
  stop: () => reading?.stop(),
  edit: (button) => edit(button.closest(".turn")),
  retry: (button) => open(api("/retries"), { turn: Number(button.closest(".turn").dataset.version) }),
  copy: async (button) => { await navigator.clipboard?.writeText($(".said", button.closest(".turn")).innerText); status(say.copied); button.title = say.copied; },
  "edit-earlier": () => editLatest(body.dataset.kept || null),
  end: async () => { if (await ask({ title: say.end_ask, what: say.end_what, yes: say.end_go_on })) speak(say.end_request, "request_end"); },
  "confirm-end": () => speak(say.end_confirm_words, "confirm_end"),
  leave: async () => { await post(api("/leave")).catch(() => null); sessionStorage.setItem("said", say.left); location.assign("/chat"); },
  rename: async () => {
    const title = await ask({ title: say.rename, yes: say.save, value: $("#title").textContent });
    const path = `/api/v1/conversations/${body.dataset.conversation}/metadata`;
    if (title?.trim() && (await done(path, { title: title.trim() }, say.not_renamed))) await refresh().catch(wrong);
  },
  delete: async () => {
    if (!(await ask({ title: say.delete_ask, what: say.delete_what, yes: say.delete, grave: true }))) return;
    const gone = await post(`/chat/c/${branch}/erasure`).catch((error) => { wrong(error); return null; });
    if (!gone) return null;
    if (!gone.erased) return trouble(say.not_deleted);
    forget();
    sessionStorage.setItem("said", say.deleted);
    return location.assign("/chat");
  },
};

// On a phone it comes with a transition, and nothing hidden takes the focus.
function search(tries = 5) {
  $("#search").focus();
  if (tries && document.activeElement !== $("#search")) requestAnimationFrame(() => search(tries - 1));
}

function closeMenu(menu) {
  menu.removeAttribute("open");
  $("summary", menu).focus();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  const menu = button?.closest("details.menu"), way = event.target.closest(".ways a");
  if (menu) closeMenu(menu); // a dialog gives the focus back to where it was
  if (button) acts[button.dataset.act]?.(button);
  else if (way) crosses(way, event.detail === 0);
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
    keep(draft(), "");
    fit();
    await speak(text);
  } else if (form.dataset.form === "feedback" || form.dataset.form === "appeal") {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(form));
    const sent = form.dataset.form === "feedback" ? { rating: given.rating ?? null, content: given.content || null } : { content: given.content || null };
    if (form.dataset.form === "feedback" && !sent.rating && !sent.content) return;
    const path = api(form.dataset.form === "feedback" ? "/feedback" : "/appeals");
    if (await done(path, sent, say.not_taken)) await refresh().then(() => $("#banner-title")?.focus()).catch(wrong);
  }
});

document.addEventListener("keydown", (event) => {
  const control = event.ctrlKey || event.metaKey;
  if (event.key === "Escape" && !$("dialog[open]")) {
    if (body.classList.contains("side-open")) acts.side();
    else if ($("details.menu[open]")) closeMenu($("details.menu[open]"));
    else if (reading) reading.stop();
  } else if (control && event.key === "/") { event.preventDefault(); acts.keys(); }
  else if (control && event.key.toLowerCase() === "k") { event.preventDefault(); body.classList.add("side-open"); search(); }
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
  message.addEventListener("input", () => { fit(); keep(draft(), message.value); });
  message.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); $("#composer").requestSubmit(); }
    else if (event.key === "ArrowUp" && !message.value) { event.preventDefault(); editLatest(); }
  });
  message.addEventListener("paste", (event) => { if (event.clipboardData.files.length) { event.preventDefault(); attach([...event.clipboardData.files]); } });
  $("#file").addEventListener("change", (event) => { attach([...event.target.files]); event.target.value = ""; });
}

document.addEventListener("toggle", (event) => {
  if (!event.target.open || !event.target.closest(".after")) return;
  $("#scroll").scrollTop = $("#scroll").scrollHeight; // what it is about stays in sight
  event.target.scrollIntoView({ block: "nearest" });
}, true);

$("#language").addEventListener("change", (event) => {
  document.cookie = `lang=${event.target.value}; path=/; max-age=31536000; samesite=lax`;
  keepsFocus(event.target);
  location.reload();
});
if (sessionStorage.getItem("who") !== body.dataset.who) { sessionStorage.clear(); sessionStorage.setItem("who", body.dataset.who); } // somebody else was here
const written = sessionStorage.getItem(draft());
if (!$("#message") && written) body.dataset.kept = written;
else if (written) $("#message").value = written;
arm();
if ($("#message")) fit();
const held = arrive(), searched = new URLSearchParams(location.search).has("q");
if (searched && matchMedia("(max-width: 52rem)").matches) body.classList.add("side-open");
if (!held && searched && !matchMedia("(pointer: coarse)").matches) search();
else if (!held) compose();
const left = sessionStorage.getItem("said");
if (left) { sessionStorage.removeItem("said"); notice(left, true); }
if (Number(body.dataset.waits)) resume();
