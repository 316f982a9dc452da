// An outline over the picture that a person draws or changes: corners are moved, added and taken away, by pointer,
// touch and keyboard, wherever the picture is zoomed to.

const MIN_CORNERS = 3;
const MAX_CORNERS = 500;
const MIN_AREA_PX = 4; // as the service asks for
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const LEAP = 10; // pixels of the picture at a press with Shift
const CLICK_PX = 4; // a press that moves less is a click
const NEW_SHARE = 0.14; // of what is seen of the picture, for an outline that is put there by a click
const ROOM_PX = matchMedia("(pointer: coarse)").matches ? 88 : 60; // between two corners, for a third one to be added
const SVG = "http://www.w3.org/2000/svg";

export function pathOf(outline) {
  return `M${outline.map((corner) => corner.join(" ")).join("L")}Z`;
}

const cross = (a, b, c) => (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
const meet = (a, b, c, d) => cross(a, b, c) * cross(a, b, d) <= 0 && cross(c, d, a) * cross(c, d, b) <= 0;

// Whether it covers something and does not cross itself; the service has the last word.
export function holds(outline) {
  const next = (i) => outline[(i + 1) % outline.length];
  const twice = outline.reduce((sum, [x, y], i) => sum + x * next(i)[1] - next(i)[0] * y, 0);
  if (Math.abs(twice) / 2 < MIN_AREA_PX) return false;
  for (let i = 0; i < outline.length; i++) {
    for (let j = i + 2; j < outline.length; j++) {
      const neighbours = i === 0 && j === outline.length - 1;
      if (!neighbours && meet(outline[i], next(i), outline[j], next(j))) return false;
    }
  }
  return true;
}

const button = (name, label) => {
  const made = document.createElement("button");
  made.type = "button";
  made.className = name;
  made.setAttribute("aria-label", label);
  return made;
};

export class OutlineEditor {
  // `words.corner(number, total)`, `words.middle(number)`, `words.here`: names of what is held. `changed(corners)` is
  // told of every step; corners are null until there are some.
  constructor(frames, width, height, words, changed) {
    Object.assign(this, { frames, width, height, words, changed });
    this.layer = null;
    frames.addEventListener("view", () => this.layer && this.mount());
  }

  get isOpen() {
    return this.layer !== null;
  }

  // `corners`: null to draw anew. `side`: of which date the picture is wanted where both stand side by side.
  open(corners, { kind, side, label }) {
    Object.assign(this, { side, corners: corners?.map((corner) => [...corner]) ?? null, picked: null });
    this.layer = document.createElement("div");
    this.layer.className = "editor";
    this.layer.dataset.kind = kind;
    this.layer.setAttribute("role", "group");
    this.layer.setAttribute("aria-label", label);
    this.layer.innerHTML = `<svg xmlns="${SVG}" viewBox="0 0 ${this.width} ${this.height}" preserveAspectRatio="none"
      aria-hidden="true"><path class="casing"/><path class="outline"/></svg>`;
    this.layer.addEventListener("pointerdown", (event) => this.press(event));
    this.layer.addEventListener("keydown", (event) => this.key(event));
    this.layer.addEventListener("click", (event) => this.click(event));
    this.layer.addEventListener("dblclick", (event) => event.stopPropagation()); // it would zoom
    this.mount();
    this.build(0);
  }

  close() {
    this.layer?.remove();
    this.layer = null;
  }

  // Into the frame of the wanted date; a frame that was copied may have copied this as well.
  mount() {
    const stages = this.frames.querySelectorAll(".stage");
    const stage = this.side === "after" ? stages[stages.length - 1] : stages[0];
    for (const other of this.frames.querySelectorAll(".editor")) if (other !== this.layer) other.remove();
    if (this.layer.parentNode !== stage) stage.append(this.layer);
    this.draw();
  }

  // --- What is seen -----------------------------------------------------------------------------------------

  // All that can be held, anew; the corner of this number has the focus.
  build(focus) {
    for (const old of this.layer.querySelectorAll("button")) old.remove();
    if (!this.corners) {
      this.layer.append(button("here", this.words.here));
      this.layer.lastChild.focus({ preventScroll: true });
      this.changed(null);
      return;
    }
    this.corners.forEach((_, i) => {
      this.layer.append(button("corner", this.words.corner(i + 1, this.corners.length)));
      this.layer.append(button("middle", this.words.middle(i + 1)));
    });
    this.draw();
    this.layer.querySelectorAll(".corner")[focus].focus({ preventScroll: true });
  }

  draw() {
    if (!this.corners) return;
    for (const path of this.layer.querySelectorAll("path")) path.setAttribute("d", pathOf(this.corners));
    const { width } = this.layer.getBoundingClientRect();
    const put = (held, [x, y]) => {
      held.style.left = `${(100 * x) / this.width}%`;
      held.style.top = `${(100 * y) / this.height}%`;
    };
    this.layer.querySelectorAll(".corner").forEach((held, i) => put(held, this.corners[i]));
    this.layer.querySelectorAll(".middle").forEach((held, i) => {
      const [a, b] = [this.corners[i], this.corners[(i + 1) % this.corners.length]];
      put(held, this.between(i));
      held.hidden = (Math.hypot(b[0] - a[0], b[1] - a[1]) * width) / this.width < ROOM_PX;
    });
    const right = holds(this.corners);
    this.layer.toggleAttribute("data-wrong", !right);
    this.changed(this.corners, right);
  }

  between(i) {
    const [a, b] = [this.corners[i], this.corners[(i + 1) % this.corners.length]];
    return [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  }

  // --- What is done -----------------------------------------------------------------------------------------

  // Where in the picture, in its pixels and within it.
  at(event) {
    const { left, top, width, height } = this.layer.getBoundingClientRect();
    return this.within([((event.clientX - left) / width) * this.width, ((event.clientY - top) / height) * this.height]);
  }

  within([x, y]) {
    const round = (value, most) => Math.round(Math.min(most, Math.max(0, value)) * 10) / 10;
    return [round(x, this.width), round(y, this.height)];
  }

  numberOf(held) {
    return [...this.layer.querySelectorAll(`.${held.className}`)].indexOf(held);
  }

  insert(i) {
    if (this.corners.length >= MAX_CORNERS) return;
    this.corners.splice(i + 1, 0, this.within(this.between(i)));
    this.build(i + 1);
  }

  remove(i) {
    if (this.corners.length <= MIN_CORNERS) return;
    this.corners.splice(i, 1);
    this.build(Math.min(i, this.corners.length - 1));
  }

  // A new outline around a place in the window, as large as suits what is seen of the picture.
  putDown(clientX, clientY) {
    const { width, height } = this.layer.parentNode.parentNode.getBoundingClientRect();
    const half = (NEW_SHARE / 2) * Math.min(width, height);
    const [[left, top], [right, bottom]] = [-half, half].map((by) =>
      this.at({ clientX: clientX + by, clientY: clientY + by }),
    );
    this.corners = [[left, top], [right, top], [right, bottom], [left, bottom]];
    this.build(0);
  }

  press(event) {
    if (event.button !== 0) return;
    event.stopPropagation(); // the picture would be moved, or the line between the dates
    const held = event.target.closest("button");
    if (held?.matches(".here")) this.drag(event, (to, from) => this.span(from, to), (last) => this.putDown(last.clientX, last.clientY));
    else if (held?.matches(".middle")) {
      const i = this.numberOf(held);
      this.insert(i);
      if (this.corners.length > i + 1) this.drag(event, (to) => this.moveTo(i + 1, to));
    } else if (held) {
      const i = this.numberOf(held);
      held.focus({ preventScroll: true });
      this.drag(event, (to) => this.moveTo(i, to), () => this.pick(i));
    } else if (this.picked !== null) {
      const i = this.picked;
      this.pick(null);
      this.moveTo(i, this.at(event));
      event.preventDefault(); // the corner keeps the focus
    }
  }

  // `clicked` is called instead if the pointer stays where it is.
  drag(event, move, clicked = () => {}) {
    event.preventDefault();
    this.pick(null);
    const from = this.at(event);
    let far = false;
    this.layer.setPointerCapture(event.pointerId);
    const follow = (moved) => {
      far ||= Math.hypot(moved.clientX - event.clientX, moved.clientY - event.clientY) > CLICK_PX;
      if (far) move(this.at(moved), from);
    };
    const end = (last) => {
      this.layer?.removeEventListener("pointermove", follow);
      for (const name of ["pointerup", "pointercancel"]) this.layer?.removeEventListener(name, end);
      if (!this.isOpen) return;
      if (!far && last.type === "pointerup") clicked(last);
      else if (far && this.layer.querySelector(".here")) this.build(2);
    };
    this.layer.addEventListener("pointermove", follow);
    for (const name of ["pointerup", "pointercancel"]) this.layer.addEventListener(name, end);
  }

  // A rectangle from where the pointer was pressed to where it is.
  span(from, to) {
    this.corners = [from, [to[0], from[1]], to, [from[0], to[1]]];
    this.draw();
  }

  moveTo(i, place) {
    this.corners[i] = place;
    this.draw();
  }

  // A corner that was clicked goes where the next click is.
  pick(i) {
    this.picked = i;
    this.layer.toggleAttribute("data-picked", i !== null);
    this.layer.querySelectorAll(".corner").forEach((held, k) => held.toggleAttribute("data-picked", k === i));
  }

  // By key; what the pointer does was dealt with when it went down.
  click(event) {
    if (event.detail !== 0) return;
    if (event.target.matches(".middle")) this.insert(this.numberOf(event.target));
    else if (event.target.matches(".here")) {
      const { left, top, width, height } = this.layer.parentNode.parentNode.getBoundingClientRect();
      this.putDown(left + width / 2, top + height / 2);
    }
  }

  key(event) {
    const held = event.target.closest(".corner");
    if (!held || event.ctrlKey || event.metaKey || event.altKey) return;
    const i = this.numberOf(held);
    const way = ARROWS[event.key];
    if (way) {
      const step = event.shiftKey ? LEAP : 1;
      this.moveTo(i, this.within(this.corners[i].map((value, axis) => value + way[axis] * step)));
    } else if (event.key === "Delete" || event.key === "Backspace") this.remove(i);
    else return;
    event.preventDefault();
  }
}
