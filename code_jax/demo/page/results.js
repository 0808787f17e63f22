// Results: the one that is shown with its facts, the samples among which one is picked, and a strip of those before.

import { archive } from "./archive.js";
import { $, blobOf, element, on, save } from "./dom.js";

const MOST_BYTES = 2 ** 29; // of results that are kept; the oldest go first

// What one order gave. Pictures are addresses of blobs, which are given up with the result.
export class Result {
  results = [];
  latents = [];

  constructor(name, settings) {
    Object.assign(this, { name, settings });
  }

  take(event) {
    if (event.event === "again") Object.assign(this, { results: [], latents: [] });
    if (event.event === "input") {
      this.input = URL.createObjectURL(blobOf(event.picture));
      this.clean = event.clean && URL.createObjectURL(blobOf(event.clean));
    }
    if (event.event === "latent") (this.latents[event.sample] ??= []).push(event);
    if (event.event === "diversity") this.diversity = event.value;
    if (event.event !== "result") return;
    const blob = blobOf(event.picture);
    this.results.push({ ...event, blob, picture: URL.createObjectURL(blob) });
  }

  // Of several samples each has a number.
  fileName(sample) {
    const stem = this.name.replace(/\.[^.]*$/, "");
    return `${stem}_restored${this.results.length > 1 ? `_${sample + 1}` : ""}.png`;
  }

  get size() {
    return this.results.reduce((sum, each) => sum + each.blob.size, 0);
  }

  giveUp() {
    for (const url of [this.input, this.clean, this.mask, ...this.results.map((each) => each.picture)]) if (url) URL.revokeObjectURL(url);
  }
}

export class Results {
  #all = [];
  #shown = null;
  #sample = 0;

  // stage: where a result is compared; reused: called with the settings of a result that are to be taken again.
  constructor(stage, reused) {
    this.stage = stage;
    on($("against"), "change", () => this.#compare());
    on($("share"), "click", () => this.#share());
    on($("save-all"), "click", () => this.#saveAll());
    on($("reuse"), "click", () => reused(this.#shown.settings));
    for (const button of document.querySelectorAll("[data-copies]")) on(button, "click", () => copy(button, $(button.dataset.copies)));
  }

  // Shows one sample of a result, and puts the result into the strip.
  async show(result, sample = 0) {
    if (!this.#all.includes(result)) this.#all.unshift(result);
    let size = 0;
    const kept = this.#all.findIndex((each) => (size += each.size) > MOST_BYTES);
    if (kept > 0) this.#all.splice(kept).forEach((each) => each.giveUp());
    [this.#shown, this.#sample] = [result, sample];
    const event = result.results[sample];
    $("outcome").hidden = false;
    $("nothing").hidden = true;
    $("against-label").hidden = $("clean-beside").hidden = !result.clean;
    if (!result.clean) $("against").value = "input";
    else Object.assign($("clean-source"), { src: result.clean }), ($("clean-input").src = result.input), ($("clean-result").src = event.picture);
    link("download", event.picture, result.fileName(sample));
    link("download-input", result.input, `${result.name.replace(/\.[^.]*$/, "")}_input.png`);
    link("download-mask", result.mask, "mask.png");
    $("share").hidden = !navigator.canShare?.({ files: [this.#file()] });
    this.#facts(event.facts, result);
    $("picks").replaceChildren(...(result.results.length > 1 ? result.results.map((each, k) => this.#pick(result, each, k)) : []));
    $("picks-row").hidden = result.results.length < 2;
    $("command").textContent = event.command;
    $("python").textContent = event.python;
    $("latents").replaceChildren(...stages(result.latents[sample] ?? []));
    $("way").hidden = !result.latents[sample];
    this.#strip();
    await this.#compare();
  }

  forget() {
    this.#shown = null;
    $("outcome").hidden = $("clean-beside").hidden = $("way").hidden = true;
    $("after").removeAttribute("src");
    this.stage.comparing = false;
  }

  async #compare() {
    const { input, clean, results } = this.#shown;
    $("before").src = $("against").value === "clean" && clean ? clean : input;
    $("after").src = results[this.#sample].picture;
    await Promise.all([$("before").decode(), $("after").decode()]).catch(() => {}); // another result is shown by now
    if (!$("after").naturalWidth) return;
    this.stage.resize($("after").naturalWidth, $("after").naturalHeight);
    this.stage.comparing = true;
  }

  #facts(facts, { diversity, results }) {
    const told = Object.entries(facts).filter(([, value]) => value !== null);
    if (diversity !== undefined) told.push([`diversity: RMS difference of the ${results.length} samples`, diversity.toFixed(4)]);
    const items = told.flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value })]);
    $("facts").replaceChildren(...items);
  }

  #pick(result, { picture }, sample) {
    const name = `sample ${sample + 1}`;
    const pressed = { type: "button", title: `show ${name}`, ariaPressed: String(sample === this.#sample) };
    const button = element("button", pressed, element("img", { src: picture, alt: name }));
    on(button, "click", () => this.show(result, sample).then(() => $("picks").children[sample].focus()));
    return button;
  }

  #strip() {
    const count = this.#all.reduce((sum, each) => sum + each.results.length, 0);
    $("strip-row").hidden = this.#all.length < 2;
    $("save-all").hidden = count < 2;
    $("save-all").textContent = `Save all ${count}`;
    const buttons = this.#all.map((result, k) => {
      const name = `${result.name}, ${this.#all.length - k}`;
      const shown = { type: "button", title: name, ariaPressed: String(result === this.#shown) };
      const button = element("button", shown, element("img", { src: result.results[0].picture, alt: name }));
      on(button, "click", () => this.show(result).then(() => $("strip").children[k].focus()));
      return button;
    });
    $("strip").replaceChildren(...buttons);
  }

  // Every result and sample, the oldest first; of a picture that was restored several times each has a number.
  async #saveAll() {
    const files = {};
    for (const result of this.#all.toReversed()) {
      for (const [sample, { blob }] of result.results.entries()) {
        const name = result.fileName(sample);
        let unused = name;
        for (let k = 2; unused in files; k++) unused = name.replace(".png", ` (${k}).png`);
        files[unused] = blob;
      }
    }
    save(await archive(files), "restored.zip");
  }

  #file() {
    const name = this.#shown.fileName(this.#sample);
    return new File([this.#shown.results[this.#sample].blob], name, { type: "image/png" });
  }

  #share() {
    navigator.share({ files: [this.#file()] }).catch(() => {}); // not shared after all
  }
}

// Latents along the way, by stage.
export function stages(latents) {
  const made = [];
  for (const { stage: kind, level, sigma, picture } of latents) {
    const stage = level ? `${kind}, size ${level + 1}` : kind;
    if (made.at(-1)?.dataset.stage !== stage) {
      const figure = element("figure", {}, element("figcaption", { textContent: stage }), element("div", { className: "frames" }));
      figure.dataset.stage = stage;
      made.push(figure);
    }
    const noise = `σ ${sigma ? sigma.toPrecision(2) : "0"}`;
    made.at(-1).lastChild.append(element("div", {}, element("img", { src: picture, alt: `${stage}, ${noise}` }), noise));
  }
  return made;
}

function link(id, url, name) {
  $(id).hidden = !url;
  if (url) Object.assign($(id), { href: url, download: name });
}

// The clipboard is there for secure addresses only; elsewhere the text is selected.
async function copy(button, text) {
  getSelection().selectAllChildren(text);
  await navigator.clipboard?.writeText(text.textContent);
  button.textContent = navigator.clipboard ? "Copied" : "Selected";
  setTimeout(() => (button.textContent = "Copy"), 1500);
}
