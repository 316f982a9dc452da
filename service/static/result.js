// The result page: the line between before and after, and findings that know their place in the picture.

import { review } from "./review.js";
import { swipe } from "./swipe.js";
import { views } from "./views.js";

const frame = document.querySelector(".frame");
const panel = document.getElementById("panel");
const buttons = () => [...document.querySelectorAll(".finding")]; // a person may add some

const pick = (element) => select(element.dataset.finding, true);
swipe(frame, pick);
const camera = views(frame.closest(".picture"), pick);

// --- Findings ---------------------------------------------------------------------------------------------

function all(id) {
  return document.querySelectorAll(`.shape[data-finding="${id}"], .mark[data-finding="${id}"]`);
}

function closeUp(button) {
  const { finding, kind, closeUp: viewBox } = button.dataset;
  const group = document.querySelector(".close-up");
  if (!group) return;
  const outline = document.getElementById(`hand-${finding}`) ?? document.getElementById(`path-${finding}`);
  group.setAttribute("aria-label", group.dataset.label.replace("{id}", button.querySelector(".finding-id").textContent));
  for (const view of group.querySelectorAll(".close-up-view")) {
    view.setAttribute("viewBox", viewBox);
    view.dataset.kind = kind;
    for (const use of view.querySelectorAll("use")) use.setAttribute("href", `#${outline.id}`);
  }
}

function select(id, fromPicture = false) {
  for (const button of buttons()) {
    const active = button.dataset.finding === id;
    button.setAttribute("aria-pressed", String(active));
    for (const element of all(button.dataset.finding)) {
      element.classList.toggle("active", active);
      if (active) element.parentNode.append(element); // drawn last, on top of its neighbours
    }
    if (!active) continue;
    closeUp(button);
    panel.dispatchEvent(new CustomEvent("selected", { detail: button }));
    if (fromPicture) {
      const more = button.closest("details");
      if (more) more.open = true;
      button.focus({ preventScroll: true });
      button.scrollIntoView({ block: "nearest" });
    }
  }
}

panel?.addEventListener("click", (event) => {
  const button = event.target.closest(".finding");
  if (button) select(button.dataset.finding);
});
panel?.addEventListener("keydown", (event) => {
  const list = buttons();
  const next = list[list.indexOf(event.target) + { ArrowDown: 1, ArrowUp: -1 }[event.key]];
  if (!event.target.matches(".finding") || !next?.checkVisibility()) return;
  event.preventDefault(); // the page would scroll as well
  next.focus();
  select(next.dataset.finding);
});

for (const toggle of document.querySelectorAll(".kind-toggle")) {
  toggle.addEventListener("click", () => {
    const shown = toggle.getAttribute("aria-pressed") !== "true";
    toggle.setAttribute("aria-pressed", String(shown));
    for (const element of frame.parentNode.querySelectorAll(`[data-kind="${toggle.dataset.kind}"]`)) {
      element.classList.toggle("off", !shown);
    }
  });
}

if (panel?.dataset.review) review(panel, frame, camera, select);
if (buttons().length) select(buttons()[0].dataset.finding);
