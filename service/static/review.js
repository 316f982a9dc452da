// Findings corrected by a person: right, wrong, outlined anew, overlooked; beside what the machine found.

import { Corrections } from "./corrections.js";
import { OutlineEditor, pathOf } from "./outline.js";
import { named, remembered } from "./whom.js";

const CLOSE_UP = 2.2; // a close-up is so much wider than what it shows, as on the server
const CLOSE_UP_MIN_PX = 48;
const KEYS = { a: "accept", r: "reject", e: "redraw", delete: "clear" };
const SVG = "http://www.w3.org/2000/svg";

export function review(panel, frame, camera, select) {
  const picture = frame.closest(".picture");
  const frames = frame.parentNode;
  const bar = picture.querySelector(".edit-bar");
  const template = (id) => document.getElementById(id).content;
  const words = new Map([...template("words").children].map((each) => [each.dataset.key, each.textContent]));
  const say = (key, values = {}) => words.get(key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
  const [width, height] = frame.querySelector(".shapes").getAttribute("viewBox").split(" ").slice(2).map(Number);
  const corrections = new Corrections(panel.dataset.address, JSON.parse(panel.dataset.review));
  const actions = panel.querySelector(".actions") ?? document.importNode(template("actions").firstElementChild, true);
  const button = (id) => panel.querySelector(`.finding[data-finding="${id}"]`);
  const home = (id) => button(id) ?? panel.querySelector('[data-do="draw"]'); // where the focus goes back to
  let chosen = null; // the finding that is selected
  let edited = null; // { id, kind, back } while an outline is drawn

  // --- What is shown ------------------------------------------------------------------------------------------

  function stateOf(said) {
    if (!said) return "";
    if (said.finding === null) return "drawn";
    return said.accepted ? (said.outline ? "redrawn" : "accepted") : "rejected";
  }

  function show() {
    for (const old of document.querySelectorAll(".hand, defs [id^=hand-]")) old.remove();
    for (const each of panel.querySelectorAll(".finding:not(.drawn)")) showFinding(each);
    const list = panel.querySelector(".drawn-by-hand");
    list.hidden = !corrections.drawn.length;
    if (list.contains(actions)) actions.remove();
    list.querySelector("ul").replaceChildren(...corrections.drawn.map(drawnItem));
    corrections.drawn.forEach((each, i) => outlined(`drawn-${i + 1}`, each, `+${i + 1}`));
    for (const toggle of picture.querySelectorAll('.kind-toggle[aria-pressed="false"]')) {
      for (const each of frames.querySelectorAll(`.hand[data-kind="${toggle.dataset.kind}"]`)) each.classList.add("off");
    }
    chosen = (button(chosen) ?? panel.querySelector(".finding"))?.dataset.finding ?? null;
    if (chosen) select(chosen);
  }

  function showFinding(each) {
    const { finding, label } = each.dataset;
    const said = corrections.of(finding);
    const state = stateOf(said);
    each.dataset.said = state;
    each.setAttribute("aria-label", state ? `${label} · ${say(state)}` : label);
    const words = each.querySelector(".finding-said");
    words.hidden = !state;
    words.querySelector("span").textContent = state && say(state);
    for (const use of [words.querySelector("use"), ...marksOf(finding)]) {
      if (state) use.setAttribute("href", `#sign-${state}`);
      else use.removeAttribute("href");
    }
    for (const shape of frames.querySelectorAll(`.shape[data-finding="${finding}"]`)) shape.dataset.said = state;
    if (said?.outline) outlined(finding, said);
  }

  const marksOf = (id) => frames.querySelectorAll(`.mark[data-finding="${id}"] .said-sign`);

  // An outline by hand in the picture, with its number where the machine gave none.
  function outlined(id, { kind, outline }, number) {
    const path = element("path", { id: `hand-${id}`, d: pathOf(outline) });
    frame.querySelector(".shapes defs").append(path);
    for (const shapes of frames.querySelectorAll(".shapes")) {
      const group = element("g", { class: "shape hand", "data-kind": kind, "data-finding": id });
      for (const part of ["casing", "outline"]) group.append(element("use", { class: part, href: `#hand-${id}` }));
      shapes.append(group);
    }
    if (!number) return;
    const [x, y] = [0, 1].map((axis) => outline.reduce((sum, corner) => sum + corner[axis], 0) / outline.length);
    for (const marks of frames.querySelectorAll(".marks")) {
      const place = { x: `${(100 * x) / width}%`, y: `${(100 * y) / height}%` };
      const mark = element("svg", { class: "mark hand", ...place, "data-kind": kind, "data-finding": id });
      const text = element("text", { dy: "0.35em" });
      text.textContent = number;
      mark.append(element("circle", { r: 10 }), text, element("use", { class: "said-sign", href: "#sign-drawn" }));
      marks.append(mark);
    }
  }

  function element(name, attributes) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  function drawnItem({ kind, outline }, i) {
    const item = document.importNode(template("drawn-item").firstElementChild, true);
    const row = item.querySelector(".finding");
    Object.assign(row.dataset, { finding: `drawn-${i + 1}`, kind, closeUp: closeUp(outline) });
    row.querySelector(".finding-id").textContent = `+${i + 1}`;
    row.querySelector(".finding-kind").textContent = say(kind);
    return item;
  }

  const bounds = (outline) => {
    const [xs, ys] = [0, 1].map((axis) => outline.map((corner) => corner[axis]));
    return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  };

  function closeUp(outline) {
    const [left, top, right, bottom] = bounds(outline);
    const side = Math.min(Math.max(Math.max(right - left, bottom - top) * CLOSE_UP, CLOSE_UP_MIN_PX), width, height);
    const start = (middle, most) => Math.min(Math.max(middle - side / 2, 0), most - side);
    return [start((left + right) / 2, width), start((top + bottom) / 2, height), side, side].join(" ");
  }

  panel.addEventListener("selected", ({ detail }) => {
    chosen = detail.dataset.finding;
    const said = stateOf(corrections.of(chosen));
    detail.closest("li").append(actions);
    for (const each of actions.children) {
      const state = { accept: "accepted", reject: "rejected", redraw: "redrawn" }[each.dataset.do];
      if (state) each.setAttribute("aria-pressed", String(said === state));
      each.hidden = each.dataset.do === "clear" ? !said : said === "drawn" && each.dataset.do !== "redraw";
    }
  });

  // --- Whether it is kept -------------------------------------------------------------------------------------

  const line = panel.querySelector(".review-state");
  corrections.addEventListener("change", show);
  corrections.addEventListener("state", ({ detail }) => {
    line.dataset.state = detail.state;
    line.querySelector("button").hidden = detail.state !== "failed";
    line.querySelector("span").textContent = told(detail);
  });

  function told({ state, actor, reviewed_at: at, detail, remedy }) {
    if (state === "saving") return say("saving");
    if (state === "failed") return say("failed", { why: detail ? `${detail} ${remedy ?? ""}` : say("offline") });
    const clock = { timeZone: "Asia/Shanghai", dateStyle: "short", timeStyle: "short" };
    return say("saved", { person: actor, moment: new Intl.DateTimeFormat("sv", clock).format(new Date(at)) });
  }

  // --- Outlines -----------------------------------------------------------------------------------------------

  const editor = new OutlineEditor(
    frames, width, height,
    {
      corner: (number, total) => say("corner", { number, total }),
      middle: (number) => say("middle", { number }),
      here: say("here"),
    },
    (corners, holds) => {
      bar.dataset.step = corners ? (holds ? "shape" : "wrong") : "place";
      bar.querySelector(".edit-wrong").textContent = corners && !holds ? say("invalid") : "";
      bar.querySelector('[data-do="finish"]').disabled = !corners || !holds;
    },
  ); // prettier-ignore

  function edit(id, kind, corners) {
    if (!named()) return;
    const number = id && button(id).querySelector(".finding-id").textContent;
    const label = id ? say("edit_redraw", { id: number }) : say("edit_draw", { kind: say(kind) });
    const split = frame.querySelector(".split");
    const back = [turn(split, { new: 0, removed: 100 }[kind])];
    if (corners) back.push(camera.lookAt(bounds(corners).map((value, i) => value / (i % 2 ? height : width))));
    edited = { id, kind, back };
    bar.querySelector(".edit-title").textContent = label;
    bar.hidden = false;
    picture.dataset.editing = panel.inert = true;
    editor.open(corners, { kind, side: kind === "removed" ? "before" : "after", label });
    picture.scrollIntoView({ block: "nearest" });
    if (picture.getBoundingClientRect().top < 0) picture.scrollIntoView();
  }

  // The line between the dates goes where all of the picture is of the date that shows the structure.
  function turn(split, to) {
    const earlier = split.value;
    const set = (value) => {
      split.value = value;
      split.dispatchEvent(new Event("input"));
    };
    if (to !== undefined) set(to);
    return () => set(earlier);
  }

  function leave() {
    editor.close();
    for (const back of edited.back) back();
    delete picture.dataset.editing;
    bar.hidden = true;
    panel.inert = false;
    const { id } = edited;
    edited = null;
    home(id).focus({ preventScroll: true });
  }

  function finish() {
    if (bar.querySelector('[data-do="finish"]').disabled) return;
    const { id, kind } = edited;
    const finding = !id || id.startsWith("drawn-") ? null : Number(id);
    const outline = editor.corners;
    leave();
    chosen = id ?? `drawn-${corrections.drawn.length + 1}`;
    corrections.put(id, { finding, accepted: true, kind, outline });
    button(chosen).focus({ preventScroll: true });
    button(chosen).scrollIntoView({ block: "nearest" });
  }

  // --- What is done -------------------------------------------------------------------------------------------

  function judge(accepted) {
    if (!chosen || chosen.startsWith("drawn-") || !named()) return;
    if (accepted && corrections.of(chosen)?.accepted) return; // what was drawn anew is right already
    const { kind } = button(chosen).dataset;
    corrections.put(chosen, { finding: Number(chosen), accepted, kind, outline: null });
  }

  const done = {
    accept: () => judge(true),
    reject: () => judge(false),
    redraw: () => {
      const { kind, corners } = button(chosen).dataset;
      const found = () => corners.split(" ").map((corner) => corner.split(",").map(Number));
      edit(chosen, corrections.of(chosen)?.kind ?? kind, corrections.of(chosen)?.outline ?? found());
    },
    clear: () => corrections.of(chosen) && named() && corrections.put(chosen, null),
    draw: () => edit(null, panel.querySelector("#draw-kind").value, null),
    finish,
    cancel: leave,
    retry: () => named() && corrections.save(),
  };

  // What had the focus may be gone then.
  function act(action) {
    const focused = document.activeElement;
    done[action]();
    if (!edited && (!focused.isConnected || focused.hidden)) home(chosen).focus({ preventScroll: true });
  }

  for (const place of [panel, bar]) {
    place.addEventListener("click", (event) => {
      const pressed = event.target.closest("[data-do]");
      if (pressed) act(pressed.dataset.do);
    });
  }
  panel.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.closest("input, select")) return;
    const action = KEYS[event.key.toLowerCase()];
    if (!action || !chosen) return;
    event.preventDefault();
    act(action);
  });
  document.addEventListener("keydown", (event) => {
    if (!edited) return;
    if (event.key === "Escape") leave();
    else if (event.key === "Enter" && (event.target === document.body || event.target.matches(".corner"))) finish();
    else return;
    event.preventDefault();
  });
  remembered();
}
