// What an inspector takes along: leads with their imagery, in an order to walk, with a camera and an outbox that wait
// for a line.

import { Camera } from "./camera.js";
import { forget, keep, kept, LIST } from "./kept.js";
import { ask, Outbox, Refused, SignIn } from "./outbox.js";
import { lengthOf, metresBetween, route } from "./route.js";
import { byWhom, named, remembered } from "./whom.js";

const M2_PER_MU = 10000 / 15;

const root = document.getElementById("field");
const [cameraBox, verdictBox] = ["camera", "verdict"].map((id) => document.getElementById(id));
const template = (id) => document.getElementById(id).content;
const words = new Map([...template("words").children].map((each) => [each.dataset.key, each.textContent]));
const outbox = new Outbox(root.dataset.person);
const camera = new Camera(cameraBox, photographed);
const number = new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat(document.documentElement.lang, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const short = new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: 1 });

let list = null; // as the server gave it, now or earlier
let here = null; // { lon, lat }, once it was asked for
let about = null; // the lead that a dialog is about
let verdict = null;

function say(key, values = {}) {
  return words.get(key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

function clock(moment, form) {
  return new Intl.DateTimeFormat(document.documentElement.lang, { timeZone: "Asia/Shanghai", ...form }).format(
    new Date(moment),
  );
}
const DAY = { year: "numeric", month: "2-digit", day: "2-digit" };
const MINUTE = { month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" };

// --- The list, from the server or from the phone ----------------------------------------------------------

function status(key, at) {
  const line = document.getElementById("line");
  line.textContent = say(key, { at: at ? clock(at, MINUTE) : "" });
  line.dataset.line = key;
}

async function refresh() {
  try {
    list = await (await ask(LIST)).json();
    status("online", list.at);
    document.getElementById("signed-out").hidden = true;
    keep(list).then((count) => count !== null && (root.dataset.kept = String(count)));
  } catch (error) {
    if (error instanceof Refused) throw error;
    list ??= await kept(root.dataset.person);
    status(list ? "offline" : "never", list?.at);
    document.getElementById("signed-out").hidden = !(error instanceof SignIn);
  }
  draw();
}

// --- The way ----------------------------------------------------------------------------------------------

function distance(metres) {
  const far = metres >= 1000;
  return say(far ? "distance_km" : "distance_m", { metres: far ? short.format(metres / 1000) : number.format(metres) });
}

document.getElementById("locate").addEventListener("click", () => {
  const denied = () => {
    here = null;
    draw();
    document.getElementById("route-text").textContent = say("route.denied");
  };
  if (!navigator.geolocation) return denied();
  navigator.geolocation.getCurrentPosition(
    ({ coords }) => {
      here = { lon: coords.longitude, lat: coords.latitude };
      draw();
    },
    denied,
    { enableHighAccuracy: true, timeout: 15000, maximumAge: 60000 },
  );
});

// --- Cards ------------------------------------------------------------------------------------------------

function ofAlert(id, kind) {
  return outbox.items.filter((item) => item.alert === id && item.kind === kind);
}

function fill(card, duty, order) {
  const find = (selector) => card.querySelector(selector);
  card.dataset.alert = duty.id;
  card.dataset.kind = duty.cause;
  find(".order").textContent = order;
  find("h2").textContent = `${duty.site_code} ${duty.site_name}`;
  find(".where").textContent = [duty.street, duty.community].filter(Boolean).join(" · ");
  const { view } = duty;
  for (const figure of card.querySelectorAll("figure")) {
    const { side } = figure.dataset;
    figure.hidden = !view[side] && (side === "before" || Boolean(view.before));
    if (view[side]) figure.querySelector("img").src = view[side];
    else figure.querySelector("img").remove();
    figure.querySelector("svg").setAttribute("viewBox", `0 0 ${view.size} ${view.size}`);
    for (const name of ["site-casing", "site-line"]) figure.querySelector(`.${name}`).setAttribute("d", view.site);
    for (const name of ["casing", "outline"]) figure.querySelector(`.${name}`).setAttribute("d", view.outline);
    const at = view[`${side}_at`];
    figure.querySelector("time").textContent = at ? clock(at, DAY) : "";
  }
  const missing = ["before", "after"].filter((side) => !view[side]);
  find(".no-imagery").hidden = !missing.length;
  if (missing.length === 2) find(".no-imagery").textContent = say("no_imagery");
  else if (missing.length) find(".no-imagery").textContent = say("half_imagery", { side: say(missing[0]) });
  const error = duty.area_error_m2;
  find(".figures").textContent = [
    say(`kind.${duty.cause}`),
    say("sure", { percent: `${Math.floor(100 * duty.probability + 1e-6)}%` }),
    say("area", { value: number.format(duty.area_m2), mu: fine.format(duty.area_m2 / M2_PER_MU) }),
    ...(error === null ? [] : [say("area_error", { value: number.format(error) })]),
    say("looks", { count: duty.looks, date: clock(duty.last_seen_at, DAY) }),
  ].join(" · ");
  find(".proposed").hidden = !duty.proposed;
  find(".go").href = duty.geo;
  const [lat, lon] = [duty.lat, duty.lon].map((value) => value.toFixed(6));
  const shifted = [...duty.gcj02].reverse().map((value) => value.toFixed(6));
  find(".coordinates").textContent = `WGS-84 ${lat}, ${lon} · GCJ-02 ${shifted.join(", ")}`;
  find(".shoot-button").addEventListener("click", () => openCamera(duty));
  find(".real").addEventListener("click", () => openVerdict(duty, "real"));
  find(".not-real").addEventListener("click", () => openVerdict(duty, "not_real"));
}

const previews = new Map(); // id of a photograph in the outbox -> address of its picture

async function preview(item) {
  if (!previews.has(item.id)) {
    previews.set(item.id, ""); // being read
    const picture = await outbox.picture(item.id);
    if (picture) previews.set(item.id, URL.createObjectURL(picture));
    mark();
  }
  return previews.get(item.id);
}

function drawTaken(card, id) {
  const taken = card.querySelector(".taken");
  const own = ofAlert(id, "photograph");
  taken.replaceChildren(
    ...own.map((item) => {
      const entry = document.createElement("li");
      entry.dataset.state = item.state;
      const address = previews.get(item.id);
      if (address) {
        const image = document.createElement("img");
        image.src = address;
        image.alt = how(item);
        entry.append(image);
      } else {
        preview(item);
      }
      return entry;
    }),
  );
}

// What is known of a card besides the server's list: where it lies from here, and what waits in the outbox.
function mark() {
  for (const card of document.querySelectorAll(".duty")) {
    const id = card.dataset.alert;
    const duty = list.items.find((each) => each.id === id);
    card.querySelector(".distance").textContent = here ? distance(metresBetween(here, duty)) : "";
    const decided = ofAlert(id, "verdict").find((item) => item.state !== "refused");
    for (const button of card.querySelectorAll(".real, .not-real")) button.disabled = Boolean(decided);
    const note = card.querySelector(".proposed");
    note.hidden = !decided && !duty.proposed;
    note.textContent = !decided
      ? say("proposed")
      : decided.state === "waiting"
        ? say("decided", { reason: decided.body.verdict === "real" ? say("confirm") : words.get(`code.${decided.body.code}`) })
        : how(decided);
    drawTaken(card, id);
  }
}

function draw() {
  const items = list ? route(list.items, here) : [];
  const cards = document.getElementById("duties");
  cards.replaceChildren(
    ...items.map((duty, i) => {
      const card = template("duty").firstElementChild.cloneNode(true);
      fill(card, duty, i + 1);
      return card;
    }),
  );
  document.getElementById("none").hidden = !list || items.length > 0;
  document.getElementById("route").hidden = items.length < 1;
  const text = items.length > 1 || here ? say(here ? "route.from_here" : "route.from_first", { value: distance(lengthOf(items, here)) }) : "";
  document.getElementById("route-text").textContent = text;
  root.dataset.drawn = "";
  mark();
}

// --- Photographs and decisions ----------------------------------------------------------------------------

function openCamera(duty) {
  if (!named()) return;
  about = duty;
  document.getElementById("camera-title").textContent = `${duty.site_code} ${duty.site_name}`;
  document.getElementById("problem").hidden = true;
  camera.ghost.hidden = !duty.earlier;
  if (duty.earlier) camera.ghost.src = duty.earlier;
  else camera.ghost.removeAttribute("src");
  camera.opacity.closest(".aid").hidden = !duty.earlier;
  cameraBox.querySelector("[data-with-ghost]").hidden = !duty.earlier;
  cameraBox.querySelector("[data-without-ghost]").hidden = Boolean(duty.earlier);
  cameraBox.showModal();
  if (camera.possible) camera.open();
}

cameraBox.addEventListener("close", () => camera.close());

async function photographed(picture) {
  if (picture.size > Number(root.dataset.maxBytes)) {
    document.getElementById("problem").hidden = false;
    return;
  }
  const { id, site_code: site } = about;
  const item = { kind: "photograph", alert: id, site, name: picture.name, size: picture.size, body: byWhom() };
  await outbox.add(item, { picture });
  cameraBox.close();
}

function openVerdict(duty, which) {
  if (!named()) return;
  [about, verdict] = [duty, which];
  const form = verdictBox.querySelector("form");
  form.reset();
  document.getElementById("verdict-title").textContent =
    `${duty.site_code} ${say(which === "real" ? "confirm" : "dismiss")}`;
  for (const each of form.querySelectorAll("[data-for]")) each.hidden = each.dataset.for !== which;
  const count = ofAlert(duty.id, "photograph").filter((item) => item.state !== "refused").length;
  const note = (name) => form.querySelector(`[data-note="${name}"]`);
  note("photographs").textContent = say("verdict.photographs", { count });
  note("photographs").hidden = count === 0;
  note("none").hidden = count > 0 || which !== "real";
  note("second").hidden = count > 0 || which === "real";
  explained();
  verdictBox.showModal();
}

function explained() {
  const { code, words: text } = verdictBox.querySelector("form").elements;
  const needed = verdict === "not_real" && ["permitted", "other"].includes(code.value);
  text.setCustomValidity(needed && !text.value.trim() ? verdictBox.querySelector(".words small").textContent : "");
}

verdictBox.querySelector("form").addEventListener("input", explained);
verdictBox.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  if (!form.reportValidity()) return;
  const { code, words: text } = form.elements;
  const body = {
    expected: about.state,
    verdict,
    code: verdict === "real" ? "structure" : code.value,
    words: text.value,
    ...byWhom(),
  };
  const photographs = ofAlert(about.id, "photograph")
    .filter((item) => item.state !== "refused")
    .map((item) => item.id);
  verdictBox.close();
  await outbox.add({ kind: "verdict", alert: about.id, site: about.site_code, body, photographs });
});

for (const box of [cameraBox, verdictBox]) {
  box.addEventListener("click", (event) => event.target.closest("[data-close]") && box.close());
}

// --- The outbox -------------------------------------------------------------------------------------------

function what(item) {
  if (item.kind === "photograph") return say("outbox.photograph", { site: item.site });
  const reason = words.get(`code.${item.body.code}`);
  return say(`outbox.${item.body.verdict}`, { site: item.site, reason });
}

function how(item) {
  if (item.state === "sent") return say(item.answer?.outcome === "proposed" ? "outbox.proposed" : "outbox.sent");
  if (item.state === "refused") {
    if (item.now) return say("outbox.changed", { state: say(`state.${item.now}`) });
    if (item.problem.code === "photograph_lost") return say("outbox.photograph_lost");
    return say("outbox.refused", { problem: `${item.problem.title} ${item.problem.remedy}` });
  }
  if (outbox.signedOut) return say("outbox.signed_out");
  if (item.offset) return say("outbox.sending", { percent: `${Math.floor((100 * item.offset) / item.size)}%` });
  return say("outbox.waiting");
}

// Somebody else was first: say how it stands now. The outbox may read its items anew meanwhile.
const asking = new Set();

async function lookAgain({ id, alert, now, problem }) {
  if (now || asking.has(id) || problem?.code !== "state_changed") return;
  asking.add(id);
  const state = await ask(`/api/v1/ledger/alerts/${alert}`)
    .then((answer) => answer.json())
    .then((lead) => lead.state)
    .catch(() => null); // asked again with the next change
  asking.delete(id);
  const item = outbox.items.find((each) => each.id === id);
  if (!state || !item) return;
  item.now = state;
  await outbox.save(item);
}

const entries = document.getElementById("outbox");

function drawOutbox() {
  const shown = outbox.items.filter((item) => item.state !== "sent");
  document.getElementById("outbox-box").hidden = !shown.length;
  entries.replaceChildren(
    ...shown.map((item) => {
      const entry = template("outbox-item").firstElementChild.cloneNode(true);
      entry.dataset.state = item.state;
      entry.dataset.item = item.id;
      entry.querySelector(".what").textContent = what(item);
      entry.querySelector(".how").textContent = how(item);
      const refused = item.state === "refused";
      entry.querySelector("[data-again]").hidden = !refused || Boolean(item.now);
      entry.querySelector("[data-forget]").hidden = !refused;
      return entry;
    }),
  );
  document.getElementById("signed-out").hidden = !outbox.signedOut;
}

entries.addEventListener("click", async (event) => {
  const item = outbox.items.find((each) => each.id === event.target.closest("[data-item]")?.dataset.item);
  if (!item) return;
  if (event.target.closest("[data-forget]")) await outbox.remove(item.id);
  if (event.target.closest("[data-again]")) {
    Object.assign(item, { state: "waiting", problem: null });
    await outbox.save(item);
    await outbox.flush();
  }
});

let delivered = 0;
outbox.addEventListener("change", () => {
  drawOutbox();
  if (list) mark();
  outbox.items.filter((item) => item.state === "refused").forEach(lookAgain);
  const sent = outbox.items.filter((item) => item.kind === "verdict" && item.state === "sent").length;
  if (sent > delivered) refresh();
  delivered = sent;
});

// --- Beginning --------------------------------------------------------------------------------------------

remembered();

// Whoever signs out here leaves nothing on the phone but what is still to be sent.
document.querySelector(".who")?.addEventListener("submit", forget);

window.addEventListener("online", refresh);
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState !== "visible") return;
  refresh();
  outbox.flush();
});

if ("serviceWorker" in navigator) {
  navigator.serviceWorker.register(`/field-worker.js?v=${root.dataset.version}`, { scope: "/field" }).catch(() => {});
}
await outbox.start();
await refresh();
