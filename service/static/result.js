// The result page: the line between before and after, and findings that know their place in the picture.

import { swipe } from "./swipe.js";
import { views } from "./views.js";

const frame = document.querySelector(".frame");
const buttons = [...document.querySelectorAll(".finding")];

const pick = (element) => select(element.dataset.finding, true);
swipe(frame, pick);
views(frame.closest(".picture"), pick);

// --- Findings ---------------------------------------------------------------------------------------------

function all(id) {
  return document.querySelectorAll(`.shape[data-finding="${id}"], .mark[data-finding="${id}"]`);
}

function closeUp(button) {
  const { finding, kind, closeUp: viewBox } = button.dataset;
  const group = document.querySelector(".close-up");
  group.setAttribute("aria-label", group.dataset.label.replace("{id}", finding));
  for (const view of group.querySelectorAll(".close-up-view")) {
    view.setAttribute("viewBox", viewBox);
    view.dataset.kind = kind;
    for (const use of view.querySelectorAll("use")) use.setAttribute("href", `#path-${finding}`);
  }
}

function select(id, fromPicture = false) {
  for (const button of buttons) {
    const active = button.dataset.finding === id;
    button.setAttribute("aria-pressed", String(active));
    for (const element of all(button.dataset.finding)) {
      element.classList.toggle("active", active);
      if (active) element.parentNode.append(element); // drawn last, on top of its neighbours
    }
    if (!active) continue;
    closeUp(button);
    if (fromPicture) {
      const more = button.closest("details");
      if (more) more.open = true;
      button.focus({ preventScroll: true });
      button.scrollIntoView({ block: "nearest" });
    }
  }
}

buttons.forEach((button, i) => {
  button.addEventListener("click", () => select(button.dataset.finding));
  button.addEventListener("keydown", (event) => {
    const next = buttons[i + { ArrowDown: 1, ArrowUp: -1 }[event.key]];
    if (!next?.checkVisibility()) return;
    event.preventDefault(); // the page would scroll as well
    next.focus();
    select(next.dataset.finding);
  });
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

if (buttons.length) select(buttons[0].dataset.finding);
