// Where the reader is: at the end, which is followed as it grows, or where they scrolled to; and what has the focus.
import { $, $$ } from "./common.js";

const boxes = () => [$("#scroll"), $("#main")]; // on a phone, and where there is little height, all of it scrolls
const under = (box) => box.scrollHeight - box.scrollTop - box.clientHeight;
const tops = new Map();
let follows = true, held = null;

export function toEnd() {
  follows = true;
  held = null;
  for (const box of boxes()) box.scrollTop = box.scrollHeight;
}

// What is above counts too: of turns far from view the height is a guess until they come near.
const sizes = new ResizeObserver(() => {
  if (held) hold();
  else if (follows && !document.activeElement?.closest("#below .after")) toEnd();
});

function scrolled({ target }) {
  const was = tops.get(target) ?? 0, now = target.scrollTop, left = Math.max(...boxes().map(under));
  tops.set(target, now);
  if (left < 2) follows = true;
  else if (now < was - 1) follows = false;
  else if (now > was + 1 && left < 60) follows = true;
}

// Keeps a turn where it was, until the reader does something.
function hold() {
  for (const box of boxes()) box.scrollTop += held.turn.getBoundingClientRect().top - held.top;
}

for (const sign of ["wheel", "touchstart", "pointerdown", "keydown"]) addEventListener(sign, () => { held = null; }, { passive: true });

function bring(turn, top) {
  follows = false;
  held = { turn, top };
  hold();
}

// --- over a change of the page ---

// Returns what gives the focus back to the control that has it, should it be taken away.
export function holding() {
  const one = document.activeElement, box = one?.closest("[id]"), tag = one?.tagName;
  if (!box || one === document.body) return () => {};
  const href = one.getAttribute("href"), nth = $$(tag, box).indexOf(one);
  return () => {
    if (document.activeElement !== document.body) return;
    const now = document.getElementById(box.id), those = now ? $$(tag, now) : [];
    const same = one === box ? now : those.find((other) => href && other.getAttribute("href") === href) ?? those[nth];
    (box.id === "below" || !same ? $("#banner-title") ?? $("#message") : same)?.focus({ preventScroll: true });
  };
}

// Takes over turns. Those that are the same, or are being edited, stay as they are, in their place.
export function takeTurns(log, fresh) {
  let at = log.firstElementChild;
  const drop = () => { const gone = at; at = at.nextElementSibling; gone.remove(); };
  for (const one of [...fresh.children]) {
    const old = one.id ? document.getElementById(one.id) : null;
    if (old && (old.isEqualNode(one) || $(".editing", old))) {
      while (at !== old) drop();
      at = old.nextElementSibling;
    } else log.insertBefore(one, at);
  }
  while (at) drop();
}

// --- over a change of the address ---

const put = (name, value) => sessionStorage.setItem(name, JSON.stringify(value));
const take = (name) => { const kept = sessionStorage.getItem(name); sessionStorage.removeItem(name); return JSON.parse(kept); };

// Notes which arrow is followed, so that its turn stays in its place, and the focus of a keyboard on it.
export function crosses(link, byKey) {
  const ways = link.parentElement, top = link.closest(".turn").getBoundingClientRect().top;
  put("crosses", { path: link.getAttribute("href"), at: ways.dataset.at, last: link === ways.lastElementChild, top, byKey });
}

// Notes what has the focus, before the page is loaded again.
export const keepsFocus = (one) => put("focus", one.id);

// Goes to where the reader was, or else to the end; returns whether something has the focus.
export function arrive() {
  const way = take("crosses"), place = take("place"), focus = take("focus");
  const again = performance.getEntriesByType("navigation")[0]?.type !== "navigate";
  const ways = way?.path === location.pathname ? $(`.ways[data-at="${way.at}"]`) : null;
  const turn = again && place?.path === location.pathname ? document.getElementById(place.turn) : null;
  toEnd();
  for (const one of [$("#scroll"), $("#scroll .column")]) sizes.observe(one);
  for (const box of boxes()) box.addEventListener("scroll", scrolled, { passive: true });
  if (ways) bring(ways.closest(".turn"), way.top);
  else if (turn) bring(turn, place.top);
  const arrows = ways && way.byKey ? $$("a", ways) : [];
  const control = focus ? document.getElementById(focus) : arrows[way?.last ? arrows.length - 1 : 0];
  control?.focus({ preventScroll: true });
  return Boolean(control);
}

addEventListener("pagehide", () => {
  const edge = $("#scroll").getBoundingClientRect().top;
  const turn = follows ? null : $$("#log .turn[id]").find((one) => one.getBoundingClientRect().bottom > edge);
  if (turn) put("place", { path: location.pathname, turn: turn.id, top: turn.getBoundingClientRect().top });
});
