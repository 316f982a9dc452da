// One lead per screen: the neighbours are ready before they are asked for, decisions are held before they are sent.

import { Outbox } from "./outbox.js";
import { Blink, swipe } from "./swipe.js";
import { byWhom, named, remembered } from "./whom.js";

const HOLD_MS = 8000;
const READY = [1, -1, 2]; // which cards besides the one shown are kept ready, in the order in which they are fetched
const SENT_SHOWN_MS = 4000;

const root = document.getElementById("triage");
const stage = document.getElementById("stage");
const [why, keys] = ["why", "keys"].map((id) => document.getElementById(id));
const words = new Map(
  [...document.getElementById("words").content.children].map((each) => [each.dataset.key, each.textContent]),
);
const outbox = new Outbox(root.dataset.person);

function say(key, values = {}) {
  return words.get(key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

// --- Cards ------------------------------------------------------------------------------------------------

const ids = root.dataset.ids.split(" ").filter(Boolean);
let number = Number(root.dataset.number);
const cards = new Map(); // id -> card, or the promise of one
let blink = null;

async function picturesOf(card) {
  const shown = card.querySelector(".look:not([hidden])");
  await Promise.allSettled([...(shown?.querySelectorAll("img") ?? [])].map((image) => image.decode()));
}

async function fetchCard(id) {
  const response = await fetch(`/triage/${id}`, { headers: { "Accept-Language": document.documentElement.lang } });
  if (!response.ok) throw new Error(`${response.status}`);
  const parsed = new DOMParser().parseFromString(await response.text(), "text/html");
  const card = document.importNode(parsed.querySelector(".lead-card"), true);
  await picturesOf(card);
  return card;
}

function ready(id) {
  if (!id || cards.has(id)) return cards.get(id);
  const coming = fetchCard(id);
  cards.set(id, coming);
  coming.then(
    (card) => cards.set(id, card),
    () => cards.delete(id), // asked again when it is wanted
  );
  return coming;
}

// The lead that a decision would be about; none while the next one is on its way.
function current() {
  return stage.hasAttribute("aria-busy") ? null : stage.querySelector(".lead-card");
}

function enliven(card) {
  for (const frame of card.querySelectorAll(".frame:not([data-single])")) {
    if (frame.dataset.alive) continue;
    frame.dataset.alive = "yes";
    swipe(frame);
  }
}

function frameShown() {
  return current()?.querySelector(".look:not([hidden]) .frame:not([data-single])");
}

function put(card) {
  blink?.stop();
  blink = null;
  stage.removeAttribute("aria-busy");
  stage.replaceChildren(card);
  if (card.matches(".lead-card")) enliven(card);
  mark();
}

async function show(next) {
  if (next < 0 || next >= ids.length) return;
  number = next;
  const id = ids[number];
  root.querySelector(".position").textContent = root.dataset.position
    .replace("{number}", number + 1)
    .replace("{count}", ids.length);
  history.replaceState(null, "", `?alert=${id}`);
  const found = ready(id);
  prepare();
  if (!(found instanceof Promise)) {
    put(found);
    return;
  }
  stage.setAttribute("aria-busy", "true");
  mark();
  const card = await found.catch(() => document.getElementById("no-line").content.firstElementChild.cloneNode(true));
  if (ids[number] === id) put(card);
}

function prepare() {
  const near = [0, ...READY].map((step) => ids[number + step]);
  for (const id of cards.keys()) if (!near.includes(id)) cards.delete(id);
  READY.map((step) => ids[number + step]).forEach(ready);
}

function finish() {
  stage.removeAttribute("aria-busy");
  stage.replaceChildren();
  document.getElementById("none").hidden = false;
  root.querySelector(".verdicts").hidden = true;
  root.querySelector(".position").textContent = "";
}

// A lead that is dealt with leaves the list; if it was the one shown, the one after it is shown.
function drop(id) {
  const at = ids.indexOf(id);
  if (at < 0) return;
  ids.splice(at, 1);
  if (!ids.length) finish();
  else show(Math.min(at < number ? number - 1 : number, ids.length - 1));
}

// --- Decisions --------------------------------------------------------------------------------------------

function decide(verdict, code, text) {
  const card = current();
  const { alert, expected, site } = card.dataset;
  const body = { expected, verdict, code, words: text, ...byWhom() };
  outbox.add({ kind: "verdict", alert, site, body }, { holdMs: HOLD_MS });
  drop(alert);
}

function accept() {
  if (decidable()) decide("real", "structure", "");
}

function decidable() {
  return current()?.dataset.open === "yes" && named();
}

function reject() {
  if (!decidable()) return;
  why.querySelector("form").reset();
  why.querySelector(".second").hidden = current().dataset.second !== "yes";
  why.showModal();
}

function explained() {
  const { code, words: text } = why.querySelector("form").elements;
  const needed = ["permitted", "other"].includes(code.value);
  text.setCustomValidity(needed && !text.value.trim() ? why.querySelector(".words small").textContent : "");
  return code.value;
}

why.querySelector("form").addEventListener("input", explained);
why.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const code = explained();
  const form = event.currentTarget;
  if (!form.reportValidity()) return;
  why.close();
  decide("not_real", code, form.elements.words.value);
});
why.addEventListener("keydown", (event) => {
  const radio = event.target.matches("textarea") ? null : why.querySelectorAll("[name=code]")[event.key - 1];
  if (!radio) return;
  radio.checked = true;
  radio.focus();
  explained();
  if (["permitted", "other"].includes(radio.value)) {
    event.preventDefault();
    why.querySelector("textarea").focus();
  }
});

function skip() {
  const [id] = ids.splice(number, 1);
  ids.push(id);
  show(Math.min(number, ids.length - 1));
}

function held() {
  return outbox.items.filter((item) => item.kind === "verdict" && item.state === "waiting" && item.due > Date.now());
}

async function undo(item = held().at(-1)) {
  if (!item) return;
  await outbox.remove(item.id);
  if (!ids.includes(item.alert)) ids.splice(number, 0, item.alert);
  document.getElementById("none").hidden = true;
  root.querySelector(".verdicts").hidden = false;
  show(ids.indexOf(item.alert));
}

// --- What is pending --------------------------------------------------------------------------------------

const list = document.getElementById("pending");
const line = document.getElementById("pending-item").content.firstElementChild;

function how(item) {
  if (item.state === "sent") return say({ proposed: "proposed", kept: "kept" }[item.answer.outcome] ?? "sent");
  if (item.state === "refused") return say("refused", { problem: `${item.problem.title} ${item.problem.remedy}` });
  if (item.due > Date.now()) return say("waiting", { seconds: Math.ceil((item.due - Date.now()) / 1000) });
  return say(outbox.signedOut ? "sign_in" : "unsent");
}

function draw() {
  const fresh = (item) => item.state !== "sent" || item.sentAt > Date.now() - SENT_SHOWN_MS;
  const shown = outbox.items.filter((item) => item.kind === "verdict" && fresh(item));
  const known = new Map([...list.children].map((each) => [each.dataset.item, each]));
  for (const [id, each] of known) if (!shown.some((item) => item.id === id)) each.remove();
  for (const item of shown) {
    let entry = known.get(item.id);
    if (!entry) {
      entry = line.cloneNode(true);
      entry.dataset.item = item.id;
      const { verdict, code } = item.body;
      const reason = words.get(`code.${code}`);
      entry.querySelector(".what").textContent = say(verdict, { site: item.site, reason });
      entry.querySelector("[data-undo]").addEventListener("click", () => undo(item));
      entry.querySelector("[data-dismiss]").addEventListener("click", () => outbox.remove(item.id));
      entry.querySelector("[data-see]").href = `/triage?alert=${item.alert}`;
      list.append(entry);
    }
    const text = how(item);
    if (entry.querySelector(".how").textContent !== text) entry.querySelector(".how").textContent = text;
    entry.dataset.state = item.state;
    const waiting = item.state === "waiting";
    entry.querySelector("[data-undo]").hidden = !(waiting && item.due > Date.now());
    entry.querySelector("[data-login]").hidden = !(waiting && outbox.signedOut);
    for (const name of ["see", "dismiss"]) entry.querySelector(`[data-${name}]`).hidden = item.state !== "refused";
  }
  root.querySelector('[data-do="undo"]').disabled = !held().length;
}

function mark() {
  const decided = current()?.dataset.open === "yes";
  for (const name of ["accept", "reject"]) root.querySelector(`[data-do="${name}"]`).disabled = !decided;
  root.querySelector('[data-do="previous"]').disabled = number <= 0;
  root.querySelector('[data-do="next"]').disabled = number >= ids.length - 1;
  root.querySelector('[data-do="blink"]').disabled = !frameShown();
}

// --- Keys and buttons -------------------------------------------------------------------------------------

const actions = {
  next: () => show(number + 1),
  previous: () => show(number - 1),
  accept,
  reject,
  skip,
  undo: () => undo(),
  help: () => keys.showModal(),
  blink() {
    const frame = frameShown();
    if (!frame) return;
    blink ??= new Blink(frame);
    blink.toggle();
  },
};
const KEYS = { j: "next", k: "previous", a: "accept", r: "reject", s: "skip", b: "blink", z: "undo", "?": "help" };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input:not([type=range]), textarea, select")) return;
  const action = actions[KEYS[event.key.toLowerCase()]];
  if (!action || !(ids.length || ["z", "Z", "?"].includes(event.key))) return;
  event.preventDefault();
  action();
});

root.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do], [data-close], [data-shows-look]");
  if (!button) return;
  if (button.dataset.do) actions[button.dataset.do]();
  if ("close" in button.dataset) button.closest("dialog").close();
  if (button.dataset.showsLook) {
    const card = current();
    blink?.stop();
    blink = null;
    for (const look of card.querySelectorAll(".look")) look.hidden = look.dataset.look !== button.dataset.showsLook;
    for (const each of card.querySelectorAll("[data-shows-look]")) {
      each.setAttribute("aria-pressed", String(each === button));
    }
    mark();
  }
});

document.getElementById("hold").textContent = document
  .getElementById("hold")
  .textContent.replace("{seconds}", HOLD_MS / 1000);

remembered();

const first = current();
if (first) {
  cards.set(first.dataset.alert, first);
  enliven(first);
  mark();
  prepare();
}
outbox.addEventListener("change", draw);
setInterval(draw, 1000);
await outbox.start();
for (const item of outbox.items) {
  // What was decided a moment ago and is still on its way is not shown again.
  if (item.kind === "verdict" && item.state === "waiting") drop(item.alert);
}
