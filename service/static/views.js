// How before and after are shown, and how near: one zoom and one place for all of it, so that both always show the same.

import { Blink } from "./swipe.js";

const MAX_ZOOM = 12;
const STEP = 1.5;
const NEAR_LINE_PX = 28;
const WORKED_ON = 0.4; // of the frame is taken by what is worked on
const WHEEL = 0.0022;

export function views(section, pick) {
  const frames = section.querySelector(".frames");
  const frame = frames.querySelector(".frame");
  const bar = section.querySelector(".views-bar");
  const mix = bar.querySelector(".mix");
  const blink = new Blink(frame);
  const place = { zoom: 1, x: 0, y: 0 }; // x and y in shares of the frame
  const pointers = new Map();
  let second = null;

  function draw() {
    const slack = 1 - place.zoom;
    place.x = Math.min(0, Math.max(slack, place.x));
    place.y = Math.min(0, Math.max(slack, place.y));
    frames.style.setProperty("--zoom", place.zoom);
    frames.style.setProperty("--x", `${100 * place.x}%`);
    frames.style.setProperty("--y", `${100 * place.y}%`);
    frames.toggleAttribute("data-zoomed", place.zoom > 1);
    bar.querySelector('[data-zoom="out"]').disabled = bar.querySelector('[data-zoom="fit"]').disabled = place.zoom === 1;
    bar.querySelector('[data-zoom="in"]').disabled = place.zoom === MAX_ZOOM;
    frames.dispatchEvent(new Event("view"));
  }

  // Near enough for a box to be worked on, [left, top, right, bottom] in shares of the picture. Says how to go back.
  function lookAt([left, top, right, bottom]) {
    const earlier = { ...place };
    const zoom = Math.min(MAX_ZOOM, WORKED_ON / Math.max(right - left, bottom - top));
    if (zoom > place.zoom) place.zoom = zoom;
    place.x = 0.5 - ((left + right) / 2) * place.zoom;
    place.y = 0.5 - ((top + bottom) / 2) * place.zoom;
    draw();
    return () => {
      Object.assign(place, earlier);
      draw();
    };
  }

  // What lies under (u, v), in shares of the frame, stays there.
  function zoomBy(factor, u = 0.5, v = 0.5) {
    const zoom = Math.min(MAX_ZOOM, Math.max(1, place.zoom * factor));
    place.x = u - ((u - place.x) * zoom) / place.zoom;
    place.y = v - ((v - place.y) * zoom) / place.zoom;
    place.zoom = zoom;
    draw();
  }

  function shares(event, element) {
    const { left, top, width, height } = element.getBoundingClientRect();
    return [(event.clientX - left) / width, (event.clientY - top) / height];
  }

  function show(mode) {
    frames.dataset.mode = mode;
    mix.hidden = mode !== "overlay";
    blink.stop();
    second?.remove();
    second = null;
    if (mode === "blink") blink.toggle();
    if (mode === "side") {
      second = frame.cloneNode(true);
      second.querySelector("defs").remove(); // the outlines are known by their ids already
      for (const each of second.querySelectorAll(".split, .divider")) each.remove();
      frames.append(second);
      frame.dataset.shows = "before";
      second.dataset.shows = "after";
    }
    draw();
  }

  function onLine(event) {
    if (frames.dataset.mode !== "swipe") return false;
    const { left } = frame.querySelector(".divider").getBoundingClientRect();
    return Math.abs(event.clientX - left) < NEAR_LINE_PX;
  }

  // Before the line between the dates hears of it: a zoomed picture is dragged, unless the line itself is.
  frames.addEventListener(
    "pointerdown",
    (event) => {
      if (event.button !== 0 || event.target.closest(".editor") || onLine(event)) return;
      if (frames.dataset.mode === "swipe" && place.zoom === 1 && event.pointerType !== "touch") return;
      const element = event.target.closest(".frame");
      pointers.set(event.pointerId, { at: shares(event, element), element, moved: 0, finding: event.target.closest("[data-finding]") });
      if (place.zoom > 1 || pointers.size > 1 || frames.dataset.mode !== "swipe") event.stopPropagation();
    },
    { capture: true },
  );
  window.addEventListener("pointermove", (event) => {
    const pointer = pointers.get(event.pointerId);
    if (!pointer) return;
    const [u, v] = shares(event, pointer.element);
    const [du, dv] = [u - pointer.at[0], v - pointer.at[1]];
    const other = [...pointers.values()].find((each) => each !== pointer);
    if (other) {
      const spread = (at) => Math.hypot(at[0] - other.at[0], at[1] - other.at[1]);
      zoomBy(spread([u, v]) / Math.max(spread(pointer.at), 0.01), (u + other.at[0]) / 2, (v + other.at[1]) / 2);
    } else if (place.zoom > 1) {
      place.x += du;
      place.y += dv;
      draw();
    }
    pointer.moved += Math.hypot(du, dv);
    pointer.at = [u, v];
  });
  for (const end of ["pointerup", "pointercancel"]) {
    window.addEventListener(end, (event) => {
      const pointer = pointers.get(event.pointerId);
      pointers.delete(event.pointerId);
      const asked = place.zoom > 1 || frames.dataset.mode !== "swipe"; // else the line between the dates has told already
      if (pointer?.finding && end === "pointerup" && asked && pointer.moved < 0.01) pick(pointer.finding);
    });
  }
  frames.addEventListener("dblclick", (event) => zoomBy(STEP ** 2, ...shares(event, event.target.closest(".frame"))));
  frames.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey) return; // a plain wheel scrolls the page; a pinch on a touchpad comes with this key
      event.preventDefault();
      zoomBy(Math.exp(-event.deltaY * WHEEL * 4), ...shares(event, event.target.closest(".frame")));
    },
    { passive: false },
  );
  bar.addEventListener("click", (event) => {
    const action = event.target.closest("[data-zoom]")?.dataset.zoom;
    if (action === "fit") zoomBy(0);
    else if (action) zoomBy(action === "in" ? STEP : 1 / STEP);
  });
  mix.addEventListener("input", (event) => frames.style.setProperty("--mix", event.target.value / 100));
  for (const radio of bar.querySelectorAll('[name="mode"]')) radio.addEventListener("change", () => show(radio.value));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=radio]):not([type=range]), textarea, select")) return;
    const key = event.key.toLowerCase();
    if (key === "+" || key === "=") zoomBy(STEP);
    else if (key === "-") zoomBy(1 / STEP);
    else if (key === "0") zoomBy(0);
    else if (key === "b") {
      const radio = bar.querySelector(`[value="${frames.dataset.mode === "blink" ? "swipe" : "blink"}"]`);
      radio.checked = true;
      show(radio.value);
    }
  });
  show(bar.querySelector('[name="mode"]:checked').value); // a reload may keep an earlier choice
  return { lookAt };
}
