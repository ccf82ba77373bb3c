// The inspector. Its pages work without this; it adds stepping through time, ties between evidence and endings, and acts.
import { $, $$, Problem, ask, look, post } from "./common.js";

// What stands between backticks is code.
const coded = (text) => text.split("`").map((one, at) => at % 2 ? Object.assign(document.createElement("code"), { textContent: one }) : one);

function trouble(text) {
  const place = $("#trouble");
  if (!place) $("#status").textContent = text;
  else { place.replaceChildren(...coded(text)); place.hidden = !text; place.scrollIntoView({ block: "nearest" }); }
}

const told = (error) => error instanceof Problem && error.kind === "sign-in-again"
  ? "This needs somebody who signed in within the last 15 minutes. Sign out, and in again."
  : error instanceof Problem ? error.detail || error.message : "The service cannot be reached.";

// --- time ---

const time = $(".time");
if (time) {
  const range = $("#at"), turns = time.dataset.turns.split(" ").filter(Boolean).map(Number);
  const go = (at) => { const url = new URL(location.href); url.hash = ""; url.searchParams.delete("from"); url.searchParams.delete("to"); url.searchParams.set("at", at); location.assign(url); };
  const step = (by) => { const at = Number(range.value), next = by > 0 ? turns.find((one) => one > at) : turns.findLast((one) => one < at); return next ?? (by > 0 ? Number(range.max) : 1); };
  range.addEventListener("input", () => { $("#at-shown").value = range.value; });
  range.addEventListener("change", () => go(range.value));
  range.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (by) { event.preventDefault(); go(step(by)); }
  });
  for (const button of $$("[data-step]", time)) button.addEventListener("click", () => go(step(Number(button.dataset.step))));
  for (const select of $$(".facts select[name=category]")) select.addEventListener("change", () => select.form.requestSubmit());
}
document.body.classList.add("scripted");
if (matchMedia("(max-width: 52rem)").matches) $(".fold")?.removeAttribute("open");

// --- evidence: both ends are marked while one of them is looked at ---

for (const line of $$("[data-ties]")) {
  const ends = () => [line, ...line.dataset.ties.trim().split(/\s+/).map((id) => document.getElementById(id)).filter(Boolean)];
  const mark = (on) => () => ends().forEach((one) => one.classList.toggle("tied", on));
  for (const name of ["mouseenter", "focusin"]) line.addEventListener(name, mark(true));
  for (const name of ["mouseleave", "focusout"]) line.addEventListener(name, mark(false));
}

// --- the tree: arrow keys go through it ---

const tree = $(".tree"), shown = $(".tree .here");
if (shown) tree.scrollTop = shown.offsetTop - tree.clientHeight / 2;
$("[role=tree]")?.addEventListener("keydown", (event) => {
  const links = $$("[role=treeitem] a"), here = links.indexOf(document.activeElement);
  const next = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: links.length - 1 }[event.key];
  if (next === undefined || !links[next]) return;
  event.preventDefault();
  for (const link of links) link.tabIndex = -1;
  links[next].tabIndex = 0;
  links[next].focus();
});

// --- acts of operators: each with a second look ---

const branch = $(".operate")?.dataset.branch;

// What stands in the way, as a sentence.
function refusal({ rule, missing }) {
  const [, holds] = rule === "held-from-erasure" && /^legal holds: (.+)$/.exec(missing) || [];
  if (!holds) return `The law does not allow this: ${missing} (rule ${rule}).`;
  return holds.includes(", ")
    ? `The legal holds ${holds} stand on these words. Nobody can erase them until an operator has released each.`
    : `The legal hold ${holds} stands on these words. Nobody can erase them until an operator has released it.`;
}

const act = (path, body, question) => carry(`/api/v1/branches/${branch}${path}`, body, question);

async function carry(path, body, question) {
  trouble("");
  if (!(await ask(question))) return;
  try {
    const made = await post(path, body);
    if (made.refused) trouble(made.refused.map(refusal).join(" "));
    else { sessionStorage.setItem("done", "Done."); location.reload(); }
  } catch (error) { trouble(told(error)); }
}

const claim = $(".claim")?.dataset.claim;

const acts = {
  clear: (button) => act(`/risks/${encodeURIComponent(button.dataset.risk)}/clear`, {}, { title: "Clear this risk?", what: "You say that nobody is at risk any more. From then on the conversation may be warned and may end again, on every branch.", yes: "Clear it", grave: true }),
  release: (button) => act(`/holds/${encodeURIComponent(button.dataset.hold)}/release`, {}, { title: "Release this hold?", what: "The words may be erased from then on.", yes: "Release it", grave: true }),
  decide: (button) => act("/decision", { outcome: button.dataset.outcome }, { title: button.dataset.outcome === "granted" ? "Grant the appeal?" : "Reject the appeal?", what: "The branch stays ended either way. What you decide is on record for ever.", yes: button.textContent }),
  erase: (button) => act("/erasures", { turn: Number(button.dataset.turn), cause: "user_request" }, { title: `Erase the words of turn ${button.dataset.turn}?`, what: "They cannot be brought back, on any branch.", yes: "Erase them", grave: true }),
  queue: () => act("/queue", {}, { title: "Have a person judge this turn?", what: "It waits in the queue until somebody who may judge takes it. The conversation goes on meanwhile.", yes: "Put it in the queue" }),
  claim: () => carry("/api/v1/queue/claims", {}, { title: "Take the oldest turn?", what: "You see its words, which the admin log notes. For ten minutes nobody else can take it.", yes: "Take it" }),
  giveback: () => carry(`/api/v1/queue/claims/${claim}/release`, {}, { title: "Give this turn back?", what: "Somebody else may take it at once. Nothing is recorded.", yes: "Give it back" }),
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button) acts[button.dataset.act]?.(button);
});

document.addEventListener("submit", async (event) => {
  const form = event.target, given = Object.fromEntries(new FormData(form));
  if (!form.dataset.form) return;
  event.preventDefault();
  if (form.dataset.form === "hold") act("/holds", { hold: given.hold, reason: given.reason, until: given.until || null }, { title: "Hold these words?", what: `Nobody can erase them until the hold ${given.hold} is released, not the user either.`, yes: "Hold them" });
  else if (form.dataset.form === "erase") act("/erasures", { cause: given.cause }, { title: "Erase the whole conversation?", what: "Every word of it on every branch, and the key that opens them. It cannot be undone. What happened stays in the log, without words.", yes: "Erase it", grave: true });
  else if (form.dataset.form === "judge") {
    const harmful = given.verdict === "harmful", of = harmful && given.category ? `, ${given.category.replaceAll("_", " ")}` : "";
    carry(`/api/v1/queue/claims/${claim}/judgement`, { verdict: given.verdict, risk: given.risk, about: given.about, category: harmful && given.category || null, severity: harmful && given.severity ? Number(given.severity) : null }, { title: "Record this judgement?", what: `${given.verdict}${of}; risk: ${given.risk.replaceAll("_", " ")}. It is on record for ever as yours, and there is one for each turn.`, yes: "Record it" });
  } else if (form.dataset.form === "what-if") {
    trouble("");
    try {
      const file = form.elements.file.files[0];
      const made = file
        ? await post("/inspect/what-ifs", { toml: await file.text() })
        : await post("/api/v1/what-ifs", { policy: given.policy, edition: given.edition ? Number(given.edition) : null });
      location.assign(`/inspect/what-if?id=${made.id}`);
    } catch (error) { trouble(told(error)); }
  }
});

// --- jobs ---

for (const button of $$("[data-job]")) button.addEventListener("click", async () => {
  if (button.ariaBusy) return; // a button that is disabled would lose the focus
  button.ariaBusy = "true";
  try { const made = await post(button.dataset.job); location.assign(`${button.dataset.page}?id=${made.id}`); } catch (error) { button.ariaBusy = null; trouble(told(error)); }
});

const waits = $("[data-poll]");
if (waits) {
  const again = async () => {
    const page = await look(location.pathname + location.search).catch(() => null);
    if (page && !$("[data-poll]", page)) { keep(); $("#content").replaceWith($("#content", page)); location.reload(); } else setTimeout(again, 700);
  };
  setTimeout(again, 300);
}

// --- focus: the keyboard stays where it was when the same page comes again, of another version or choice, or changed ---

const here = location.pathname.split("/", 3).join("/");
const sign = (one) => `${one.localName} ${one.id || one.name || one.ariaLabel || one.textContent.trim()}`;

function keep() {
  const one = $("#content :focus-visible:not(.pages a, .window a)");
  if (one) sessionStorage.setItem("focus", JSON.stringify([here, sign(one)]));
}

const [place, kept] = JSON.parse(sessionStorage.getItem("focus") ?? "[]"), said = sessionStorage.getItem("done");
for (const name of ["focus", "done"]) sessionStorage.removeItem(name);
if (place === here && (!location.hash || said)) {
  const again = $$("a, button, input, select, summary", $("#content")).find((one) => sign(one) === kept), title = $("h1");
  again?.focus({ preventScroll: true });
  if (!again || document.activeElement !== again) { title.tabIndex = -1; title.focus({ preventScroll: true }); }
}
if (said) setTimeout(() => { $("#status").textContent = said; }, 100); // a live region is read out when it changes
addEventListener("pagehide", keep);
