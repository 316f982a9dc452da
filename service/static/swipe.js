// Before and after on top of each other: the line between them follows pointer and keyboard, or the two blink.

const DRAG_PX = 4; // a press that moves less is a click
const BLINK_MS = 650; // slower than the three flashes a second that may harm (WCAG 2.3.1)
const calm = matchMedia("(prefers-reduced-motion: reduce)");

// `pick` gets what carries `data-finding` and was clicked.
export function swipe(frame, pick = () => {}) {
  const split = frame.querySelector(".split");
  let press = null;

  function place() {
    frame.style.setProperty("--split", `${split.value}%`);
  }

  function placeAt(clientX) {
    const { left, width } = frame.getBoundingClientRect();
    split.value = (100 * (clientX - left)) / width;
    place();
  }

  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const onFinding = event.target.closest("[data-finding]");
    press = { x: event.clientX, dragging: false, onFinding };
    if (onFinding) return;
    frame.setPointerCapture(event.pointerId);
    split.focus({ preventScroll: true, focusVisible: false });
    press.dragging = true;
    placeAt(event.clientX);
  });

  frame.addEventListener("pointermove", (event) => {
    if (!press) return;
    if (!press.dragging && Math.abs(event.clientX - press.x) > DRAG_PX) {
      frame.setPointerCapture(event.pointerId);
      press.dragging = true;
    }
    if (press.dragging) placeAt(event.clientX);
  });

  frame.addEventListener("pointerup", () => {
    if (press?.onFinding && !press.dragging) pick(press.onFinding);
    press = null;
  });
  frame.addEventListener("pointercancel", () => (press = null));
  split.addEventListener("input", place);
  place(); // a reload may keep an earlier value
}

// Shows one date, then the other, until told to stop; by the key alone for whoever wants nothing to move.
export class Blink {
  constructor(frame) {
    this.frame = frame;
    this.timer = null;
  }

  toggle() {
    if (calm.matches) {
      const after = this.frame.dataset.shows === "before";
      if (this.frame.dataset.shows === "after") this.stop();
      else this.show(after ? "after" : "before");
    } else if (this.timer) {
      this.stop();
    } else {
      this.show("before");
      this.timer = setInterval(() => this.show(this.frame.dataset.shows === "before" ? "after" : "before"), BLINK_MS);
    }
  }

  show(side) {
    this.frame.dataset.shows = side;
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    delete this.frame.dataset.shows;
  }
}
