// The stage: one picture in layers, zoomed and moved; two of the layers are compared at a divider.

import { $, on } from "./dom.js";

const MOST = 32; // screen pixels of one of the picture's

export class Stage {
  #scale = 1;
  #at = [0, 0]; // where the picture's corner is in the box
  #size = [1, 1];
  #fits = true;
  #pointers = new Map();
  painter = null; // takes the pointer where it does not move the picture: {begin, move, end} in the picture's pixels

  constructor() {
    this.box = $("stage");
    new ResizeObserver(() => this.#fits ? this.fit() : this.#draw()).observe(this.box);
    on($("fit-view"), "click", () => this.fit());
    on($("real-view"), "click", () => this.zoomTo(1 / devicePixelRatio));
    on($("closer"), "click", () => this.zoomTo(this.#scale * 1.5));
    on($("farther"), "click", () => this.zoomTo(this.#scale / 1.5));
    on($("compare-slider"), "input", () => this.#draw());
    on(this.box, "wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // without a key the wheel scrolls the page
      event.preventDefault();
      this.zoomTo(this.#scale * 1.002 ** -event.deltaY, this.#inBox(event));
    });
    on(this.box, "keydown", (event) => this.#key(event));
    on(this.box, "pointerdown", (event) => this.#down(event));
    on(this.box, "pointermove", (event) => this.#move(event));
    on(this.box, "pointerup pointercancel", (event) => this.#up(event));
  }

  get comparing() {
    return this.box.classList.contains("comparing");
  }

  set comparing(whether) {
    this.box.classList.toggle("comparing", whether);
    $("comparison").hidden = !whether;
    this.#draw();
  }

  // A picture of another size; one of the same size is looked at as before.
  resize(width, height) {
    $("stage-frame").hidden = false;
    if (this.#size[0] === width && this.#size[1] === height) return this.#draw();
    this.#size = [width, height];
    this.box.style.aspectRatio = `${width} / ${height}`;
    Object.assign($("layers").style, { width: `${width}px`, height: `${height}px` });
    this.fit();
  }

  fit() {
    const whole = Math.min(this.box.clientWidth / this.#size[0], this.box.clientHeight / this.#size[1]);
    this.#scale = whole || 1;
    this.#at = [0, 1].map((axis) => (this.#extent(axis) - this.#size[axis] * this.#scale) / 2);
    this.#fits = true;
    this.#draw();
  }

  zoomTo(scale, around = [this.box.clientWidth / 2, this.box.clientHeight / 2]) {
    const least = Math.min(this.box.clientWidth / this.#size[0], this.box.clientHeight / this.#size[1]);
    const next = Math.min(Math.max(scale, Math.min(least, 1 / devicePixelRatio) / 2), MOST);
    this.#at = this.#at.map((at, axis) => around[axis] - ((around[axis] - at) * next) / this.#scale);
    this.#scale = next;
    this.#fits = false;
    this.#draw();
  }

  pan(across, down) {
    this.#at = [this.#at[0] + across, this.#at[1] + down];
    this.#fits = false;
    this.#draw();
  }

  // The picture's pixel at the middle of the box.
  get middle() {
    return this.#inPicture([this.box.clientWidth / 2, this.box.clientHeight / 2]);
  }

  #extent = (axis) => (axis ? this.box.clientHeight : this.box.clientWidth);
  #inPicture = (point) => point.map((place, axis) => (place - this.#at[axis]) / this.#scale);
  #inBox(event) {
    const box = this.box.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  get #larger() {
    return [0, 1].some((axis) => this.#size[axis] * this.#scale > this.#extent(axis) + 1);
  }

  #draw() {
    for (const axis of [0, 1]) {
      const free = this.#extent(axis) - this.#size[axis] * this.#scale; // never beyond the edge; in the middle where there is room
      this.#at[axis] = free > 0 ? free / 2 : Math.min(0, Math.max(free, this.#at[axis]));
    }
    $("layers").style.transform = `translate(${this.#at[0]}px, ${this.#at[1]}px) scale(${this.#scale})`;
    $("layers").style.setProperty("--pixel", `${1 / this.#scale}px`);
    $("layers").style.imageRendering = this.#scale * devicePixelRatio >= 1 ? "pixelated" : "auto";
    this.box.classList.toggle("held", this.#larger || this.painter !== null);
    const place = ($("compare-slider").value / 100) * this.box.clientWidth;
    const share = (this.#inPicture([place, 0])[0] / this.#size[0]) * 100;
    $("after").style.clipPath = `inset(0 0 0 ${Math.min(Math.max(share, 0), 100)}%)`;
    $("divide").style.left = `${place}px`;
    $("zoom").textContent = `${Math.round(this.#scale * devicePixelRatio * 100)} %`;
  }

  #key(event) {
    if (event.target !== this.box || event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
    if (this.painter?.key(event, this.middle)) return event.preventDefault();
    if (steps[event.key]) this.pan(...steps[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoomTo(this.#scale * 1.5);
    else if (event.key === "-") this.zoomTo(this.#scale / 1.5);
    else if (event.key === "0") this.fit();
    else if (event.key === "1") this.zoomTo(1 / devicePixelRatio);
    else return;
    event.preventDefault();
  }

  #down(event) {
    if (event.button > 0) return;
    this.box.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, this.#inBox(event));
    if (this.#pointers.size > 1) this.painter?.cancel(); // two fingers move the picture, whatever the tool
    else this.painter?.begin(this.#inPicture(this.#inBox(event)));
  }

  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    const now = this.#inBox(event);
    if (!before) return this.painter?.hover(this.#inPicture(now));
    const other = [...this.#pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.#pointers.set(event.pointerId, now);
    if (other) {
      const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
      this.zoomTo((this.#scale * apart(now)) / apart(before), other);
      this.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    } else if (this.painter) this.painter.move(this.#inPicture(now));
    else if (this.#larger) this.pan(now[0] - before[0], now[1] - before[1]);
    else if (this.comparing) {
      $("compare-slider").value = (now[0] / this.box.clientWidth) * 100;
      this.#draw();
    }
  }

  #up(event) {
    if (this.#pointers.delete(event.pointerId) && !this.#pointers.size) this.painter?.end();
  }
}
