// The brush: strokes that are to be followed, and the mask of what may change. Each stroke is kept, so that it can be taken back.

import { $, element, imageOf, on } from "./dom.js";

const context = (id) => $(id).getContext("2d", { willReadFrequently: true });

export class Brush {
  strokes = []; // never changed, only replaced
  #base = null; // the picture without strokes
  #stroke = null;
  #cursor = null;

  constructor(stage, changed) {
    this.stage = stage;
    this.changed = changed;
    on($("tools"), "change", () => this.take(this.tool));
    on($("clear"), "click", () => this.#keep([]));
    on($("mask-file"), "change", () => this.#takeMask($("mask-file").files[0]));
    on(stage.box, "keydown", (event) => event.key === "Escape" && this.take("look"));
  }

  get tool() {
    return document.querySelector("[name=tool]:checked").value;
  }

  // "look" leaves the pointer to the stage.
  take(tool) {
    document.querySelector(`[name=tool][value=${tool}]`).checked = true;
    $("brush-row").hidden = tool === "look";
    $("colour-label").hidden = tool !== "stroke";
    this.stage.painter = tool === "look" ? null : this;
    this.stage.comparing = tool === "look" && Boolean($("after").src);
    this.#pointAt(null);
  }

  async show(image) {
    this.#base = image;
    for (const canvas of [$("picture"), $("mask")]) Object.assign(canvas, { width: image.width, height: image.height });
    $("brush").max = Math.max(8, Math.round(Math.max(image.width, image.height) / 4));
    $("brush").value = Math.max(4, Math.round(image.width / 12));
    this.stage.resize(image.width, image.height);
    this.draw([]);
  }

  draw(strokes) {
    this.strokes = strokes;
    context("picture").drawImage(this.#base, 0, 0);
    context("mask").clearRect(0, 0, $("mask").width, $("mask").height);
    strokes.forEach(paint);
    $("mask-state").textContent = this.masked ? "Only what is masked will change." : "";
  }

  get painted() {
    return this.strokes.some((stroke) => stroke.tool === "stroke");
  }

  get masked() {
    return this.strokes.some((stroke) => stroke.tool !== "stroke");
  }

  // The mask in white on black, as it is sent; undefined where nothing is masked.
  get mask() {
    if (!this.masked) return undefined;
    const { width, height } = $("mask");
    const canvas = element("canvas", { width, height });
    const pen = canvas.getContext("2d");
    const pixels = context("mask").getImageData(0, 0, width, height);
    for (let i = 0; i < pixels.data.length; i += 4) {
      pixels.data.fill(pixels.data[i + 3] > 127 ? 255 : 0, i, i + 3);
      pixels.data[i + 3] = 255;
    }
    pen.putImageData(pixels, 0, 0);
    return canvas.toDataURL();
  }

  begin(point) {
    this.#stroke = { tool: this.tool, colour: $("colour").value, width: Number($("brush").value), points: [point] };
    paint(this.#stroke);
  }

  move(point) {
    this.hover(point);
    if (!this.#stroke) return;
    this.#stroke.points.push(point);
    paint({ ...this.#stroke, points: this.#stroke.points.slice(-2) });
  }

  end() {
    if (!this.#stroke) return;
    const done = this.#stroke;
    this.#stroke = null;
    this.#keep([...this.strokes, done]);
  }

  cancel() {
    this.#stroke = null;
    this.draw(this.strokes);
  }

  hover(point) {
    this.#pointAt(point);
  }

  // With the keyboard: arrows move the brush (with Shift by a pixel), Space paints a dab.
  key(event, middle) {
    const step = event.shiftKey ? 1 : Math.max(1, $("brush").value / 2);
    const steps = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const at = this.#cursor ?? middle;
    if (steps[event.key]) this.#pointAt([at[0] + steps[event.key][0], at[1] + steps[event.key][1]]);
    else if (event.key === " ") {
      this.#pointAt(at);
      this.begin(at);
      this.end();
    } else return false;
    return true;
  }

  #pointAt(point) {
    this.#cursor = point;
    $("cursor").hidden = !point;
    if (!point) return;
    const width = $("brush").value;
    Object.assign($("cursor").style, { width: `${width}px`, height: `${width}px`, left: `${point[0] - width / 2}px`, top: `${point[1] - width / 2}px` });
  }

  #keep(strokes) {
    this.draw(strokes);
    this.changed();
  }

  async #takeMask(file) {
    if (!file || !this.#base) return;
    const url = URL.createObjectURL(file);
    $("mask-file").value = "";
    this.#keep([...this.strokes, { tool: "file", image: bright(await imageOf(url)) }]);
    URL.revokeObjectURL(url);
  }
}

function paint({ tool, colour, width, points, image }) {
  const pen = context(tool === "stroke" ? "picture" : "mask");
  if (tool === "file") return pen.drawImage(image, 0, 0);
  pen.globalCompositeOperation = tool === "erase" ? "destination-out" : "source-over";
  Object.assign(pen, { lineCap: "round", lineJoin: "round", lineWidth: width, strokeStyle: tool === "stroke" ? colour : "#f00" });
  pen.beginPath();
  pen.moveTo(...points[0]);
  for (const point of points.length > 1 ? points.slice(1) : points) pen.lineTo(...point);
  pen.stroke();
  pen.globalCompositeOperation = "source-over";
}

// A mask's picture as red where it is bright, of the size of the picture shown.
function bright(image) {
  const { width, height } = $("mask");
  const canvas = element("canvas", { width, height });
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0, width, height);
  const pixels = pen.getImageData(0, 0, width, height);
  for (let i = 0; i < pixels.data.length; i += 4) {
    const white = Math.max(...pixels.data.subarray(i, i + 3)) > 127 && pixels.data[i + 3] > 127;
    pixels.data.set([255, 0, 0, white ? 255 : 0], i);
  }
  pen.putImageData(pixels, 0, 0);
  return canvas;
}
