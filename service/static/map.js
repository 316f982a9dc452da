// The map page: lists and map show the same; the address keeps where one is.

import { Base, Night, Sites, openMap } from "./map_layers.js";

const LISTED = 200;
const M2_PER_MU = 10000 / 15;
const DEFAULT_VIEW = [39.9, 116.2, 12];

const district = document.getElementById("district");
const words = district.dataset;
const find = (selector) => document.querySelector(selector);
const number = (value, digits = 0) =>
  value.toLocaleString(document.documentElement.lang, { minimumFractionDigits: digits, maximumFractionDigits: digits });
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

if (matchMedia("(max-width: 820px)").matches) find(".key").open = false;
district.dataset.on = "";
const state = { chosen: find(".card-site")?.dataset.code ?? null, found: null, night: words.night, scenes: [] };
const map = openMap(document.getElementById("map"), { zoomIn: words.zoomIn, zoomOut: words.zoomOut });
const sites = new Sites(map, (code) => choose(code));
const night = new Night(map, (id) => chooseFinding(id));
const base = new Base(map, JSON.parse(words.tianditu), words.tiandituCredit);

async function get(address, kind = "json") {
  try {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${answer.status}`);
    return await answer[kind]();
  } catch {
    const problem = find(".map-problem");
    problem.textContent = words.offline;
    problem.hidden = false;
    return null;
  }
}

// --- Address ---------------------------------------------------------------------------------------------

function fromAddress() {
  const [zoom, lat, lon] = location.hash.slice(1).split("/").map(Number);
  if (location.hash && [zoom, lat, lon].every(Number.isFinite) && Math.abs(lat) <= 85) return [lat, lon, zoom];
  return null;
}

function keepAddress() {
  const query = new URLSearchParams();
  const text = find("#q").value.trim();
  if (text) query.set("q", text);
  if (state.chosen) query.set("site", state.chosen);
  if (state.night && state.night !== days.at(-1)) query.set("night", state.night);
  const { lat, lng } = map.getCenter();
  const place = `#${map.getZoom()}/${lat.toFixed(5)}/${lng.toFixed(5)}`;
  history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}${place}`);
  const other = find(".languages a");
  if (other) {
    const code = new URL(other.href).searchParams.get("lang");
    query.set("lang", code);
    other.href = `${location.pathname}?${query}${place}`;
  }
}

// --- Sites -----------------------------------------------------------------------------------------------

async function choose(code, { focus = true } = {}) {
  const query = state.night ? `?night=${state.night}` : "";
  const card = await get(`/map/site/${code.split("/").map(encodeURIComponent).join("/")}${query}`, "text");
  if (card === null) return;
  state.chosen = code;
  find("#card").innerHTML = card;
  sites.show(code, state.found);
  lookAt(sites.bounds([code]), 16);
  keepAddress();
  if (focus) find("#card-title").focus({ preventScroll: matchMedia("(min-width: 821px)").matches });
}

function close() {
  const link = find(`a[data-code="${CSS.escape(state.chosen ?? "")}"]`) ?? map.getContainer();
  state.chosen = null;
  find("#card").replaceChildren();
  sites.show(null, state.found);
  keepAddress();
  link.focus();
}

/** Moves the map only as far as needed. */
function lookAt(bounds, zoom) {
  if (!bounds || (map.getZoom() >= zoom - 1 && map.getBounds().pad(-0.1).contains(bounds))) return;
  map.setView(bounds.getCenter(), Math.max(map.getZoom(), Math.min(zoom, map.getBoundsZoom(bounds))));
}

// --- Search ----------------------------------------------------------------------------------------------

let waiting;
async function search({ move = false } = {}) {
  clearTimeout(waiting);
  const text = find("#q").value.trim();
  const list = await get(`/map/list?${new URLSearchParams({ q: text })}`, "text");
  if (list === null || text !== find("#q").value.trim()) return;
  find("#sites").innerHTML = list;
  tab("sites");
  const codes = find(".site-list").dataset.codes;
  state.found = codes ? JSON.parse(codes) : null;
  sites.show(state.chosen, state.found);
  keepAddress();
  if (!move || !state.found?.length) return;
  const bounds = sites.bounds(state.found);
  if (state.found.length === 1) choose(state.found[0]);
  else if (bounds) map.fitBounds(bounds, { padding: [40, 40], maxZoom: 17 });
}

// --- Nights ----------------------------------------------------------------------------------------------

const days = [...document.querySelectorAll("#night-list li")].map((each) => each.dataset.day);
const counts = [...document.querySelectorAll("#night-list li")].map((each) => Number(each.dataset.findings));
const known = new Map();
const slider = find("#nights");

async function load(day) {
  if (known.has(day)) return known.get(day);
  const seen = await get(`/map/nights/${day}.json`);
  if (!seen) return { covered: null, scenes: [], features: [] };
  const parts = await Promise.all(
    seen.scenes
      .filter((scene) => scene.findings)
      .map((scene) => get(`/api/v1/scenes/${encodeURIComponent(scene.id)}/findings.geojson`)),
  );
  const features = parts.flatMap((part) => part?.features ?? []);
  features.sort((a, b) => b.properties.probability - a.properties.probability);
  const all = { ...seen, features };
  if (parts.every(Boolean)) known.set(day, all);
  return all;
}

async function showNight() {
  const day = state.night;
  const { covered, scenes, features } = await load(day);
  if (day !== state.night) return;
  state.scenes = scenes;
  night.draw(covered, features);
  listFindings(features);
  offerBases();
  keepAddress();
}

let moving;
function moveTo(index, wait = 120) {
  if (!days[index]) return;
  slider.value = index;
  state.night = days[index];
  slider.setAttribute("aria-valuetext", state.night);
  find("#now").textContent = find("#now").dateTime = state.night;
  find("#now-findings").textContent = fill(words.findings, { count: number(counts[index]) });
  find("#earlier").disabled = index === 0;
  find("#later").disabled = index === days.length - 1;
  clearTimeout(moving);
  moving = setTimeout(async () => {
    await showNight();
    if (state.chosen && wait) choose(state.chosen, { focus: false });
  }, wait);
}

function listFindings(features) {
  const list = find(".finding-list");
  list.replaceChildren(...features.slice(0, LISTED).map(findingRow));
  find("#findings-count").textContent = number(features.length);
  find("#findings-none").hidden = features.length > 0;
  const more = find("#findings-more");
  more.hidden = features.length <= LISTED;
  more.textContent = fill(words.more, { more: number(features.length - LISTED) });
}

function findingRow({ id, properties: { kind, area_m2: m2, area_error_m2: error, probability } }) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.finding = id;
  const figures = { m2: number(m2), error: number(error ?? 0), mu: number(m2 / M2_PER_MU, 2) };
  const toggle = find(`.key-toggle[data-kind="${kind}"]`);
  const text = document.createElement("span");
  const under = document.createElement("span");
  under.className = "under";
  const share = `${Math.floor(probability * 100 + 1e-6)}%`;
  under.textContent = `${fill(error === null ? words.area : words.areaError, figures)} · ${fill(words.probability, { value: share })}`;
  text.append(toggle.textContent.trim(), under);
  button.append(toggle.querySelector("svg").cloneNode(true), text);
  button.addEventListener("click", () => chooseFinding(id));
  const row = document.createElement("li");
  row.append(button);
  return row;
}

function chooseFinding(id) {
  const bounds = night.show(id);
  for (const each of document.querySelectorAll("[data-finding]")) {
    const here = each.dataset.finding === id;
    each.setAttribute("aria-pressed", here);
    if (here) {
      tab("findings");
      each.scrollIntoView({ block: "nearest" });
    }
  }
  if (bounds) lookAt(bounds, 18);
}

// --- Base maps -------------------------------------------------------------------------------------------

let wanted = "after";
function offerBases() {
  const radios = [...document.querySelectorAll("[name=base]")];
  for (const each of radios) {
    const own = each.value === "none" || each.value.startsWith("tianditu-");
    each.disabled = !own && !state.scenes.some((scene) => scene.layers.includes(each.value));
  }
  const chosen = radios.find((each) => each.value === wanted && !each.disabled) ?? radios[0];
  chosen.checked = true;
  base.draw(chosen.value, state.scenes);
  map.getContainer().classList.toggle("with-picture", chosen.value !== "none");
}

// --- Tabs, keys, legend ------------------------------------------------------------------------------------

function tab(name) {
  for (const each of document.querySelectorAll('[role="tab"]')) {
    const here = each.id === `tab-${name}`;
    each.setAttribute("aria-selected", here);
    each.tabIndex = here ? 0 : -1;
    document.getElementById(each.getAttribute("aria-controls")).hidden = !here;
  }
}

function wire() {
  find(".search").addEventListener("submit", (event) => {
    event.preventDefault();
    search({ move: true });
  });
  find("#q").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(search, 250);
  });
  find(".panel").addEventListener("click", (event) => {
    const plain = !(event.metaKey || event.ctrlKey || event.shiftKey || event.button);
    const link = event.target.closest("a[data-code], a.close");
    if (!link || !plain) return;
    event.preventDefault();
    if (link.dataset.code) choose(link.dataset.code);
    else close();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && state.chosen) close();
  });
  const tabs = [...document.querySelectorAll('[role="tab"]')];
  for (const [index, each] of tabs.entries()) {
    each.addEventListener("click", () => tab(each.id.slice(4)));
    each.addEventListener("keydown", ({ key }) => {
      if (key !== "ArrowRight" && key !== "ArrowLeft") return;
      const next = tabs[(index + 1) % tabs.length];
      tab(next.id.slice(4));
      next.focus();
    });
  }
  for (const each of document.querySelectorAll(".key-toggle")) {
    each.addEventListener("click", () => {
      const shown = each.getAttribute("aria-pressed") !== "true";
      each.setAttribute("aria-pressed", shown);
      const { state: code, kind } = each.dataset;
      map.getContainer().classList.toggle(code ? `without-state-${code}` : `without-kind-${kind}`, !shown);
    });
  }
  for (const each of document.querySelectorAll("[name=base]")) {
    each.addEventListener("change", () => {
      wanted = each.value;
      offerBases();
    });
  }
  map.on("moveend", keepAddress);
  if (!slider) return;
  slider.addEventListener("input", () => moveTo(Number(slider.value)));
  find("#earlier").addEventListener("click", () => moveTo(Number(slider.value) - 1));
  find("#later").addEventListener("click", () => moveTo(Number(slider.value) + 1));
  map.getContainer().addEventListener("keydown", ({ key }) => {
    if (key === "[" || key === "]") moveTo(Number(slider.value) + (key === "[" ? -1 : 1));
  });
}

// --- Start -----------------------------------------------------------------------------------------------

const edges = words.bounds?.split(",").map(Number);
const place = fromAddress();
if (edges) map.fitBounds([[edges[1], edges[0]], [edges[3], edges[2]]], { animate: false });
else map.setView(DEFAULT_VIEW.slice(0, 2), DEFAULT_VIEW[2]);
if (place) map.setView(place.slice(0, 2), place[2], { animate: false });
const codes = find(".site-list").dataset.codes;
state.found = codes ? JSON.parse(codes) : null;
wire();
const all = await get("/map/sites.json");
if (all) sites.draw(all);
sites.show(state.chosen, state.found);
if (state.chosen && !place) lookAt(sites.bounds([state.chosen]), 16);
if (slider) moveTo(days.indexOf(state.night), 0);
else offerBases();
district.dataset.ready = "";
