// The settings: controls made from what the server says of its methods, their values, and files of them.

import { $, element, on, save, say } from "./dom.js";

const COMMON = ["prior", "label", "fit", "max-side", "method", "preset", "seed", "samples"];

export class Settings {
  // options: of the server; changed: called after a person has changed something.
  constructor(options, changed) {
    this.options = options;
    fill("prior", Object.keys(options.priors));
    fill("method", Object.keys(options.methods));
    $("samples").max = options.most_samples;
    for (const [name, control] of Object.entries(options.controls)) $(control.detail ? "details" : "controls").append(row(name, control));
    this.#takePrior();
    this.#takeMethod();
    on($("prior"), "change", () => this.#takePrior());
    on($("method"), "change", () => this.#takeMethod());
    on($("preset"), "change", () => this.#takePreset());
    on($("settings"), "change", (event) => event.target.type !== "file" && changed());
    on($("save-settings"), "click", () => this.save());
    on($("load-settings"), "change", () => this.load($("load-settings").files[0]).then(changed));
  }

  // What the chosen method takes and can do.
  get method() {
    return this.options.methods[$("method").value];
  }

  // The values by name, as strings; of the method's own controls and of those for all.
  get values() {
    const own = this.method.controls.map((name) => [name, $(name).value || (this.options.controls[name].off ?? "")]);
    return Object.fromEntries([...COMMON.map((name) => [name, $(name).value]), ...own]);
  }

  set values(values) {
    if (values.method) $("method").value = values.method;
    this.#takeMethod();
    if (values.preset) $("preset").value = values.preset;
    for (const [name, value] of Object.entries(values)) this.#set(name, value);
    this.#takePrior();
  }

  // What is chosen, in words.
  get chosen() {
    const [prior, method, preset] = ["prior", "method", "preset"].map((name) => $(name).value);
    return `${prior}, ${[method, preset].filter(Boolean).join(" ")}${this.#changed ? " with other numbers" : ""}`;
  }

  // The preset that goes with a mask, unless a person has chosen another.
  suit(masked) {
    const [to, from] = [masked, !masked].map((each) => this.options.usual_presets[Number(each)]);
    if (!(to in this.method.presets) || $("preset").value !== from || this.#changed) return;
    $("preset").value = to;
    this.#takePreset();
  }

  get #changed() {
    const values = Object.entries(this.method.presets[$("preset").value]);
    return values.some(([name, value]) => String(value ?? "") !== ($(name).value || (this.options.controls[name].off ?? "")));
  }

  save() {
    const text = JSON.stringify({ code_jax: this.options.version, settings: this.values }, null, 2);
    save(new Blob([text], { type: "application/json" }), "code_jax-settings.json");
  }

  async load(file) {
    if (!file) return;
    try {
      const told = JSON.parse(await file.text());
      const known = new Set([...COMMON, ...Object.keys(this.options.controls)]);
      const values = Object.entries(told?.settings ?? {});
      if (!values.length) throw new Error("it holds no settings");
      for (const [name, value] of values) {
        if (!known.has(name) || !["string", "number"].includes(typeof value)) throw new Error(`it has an unknown setting ${name}`);
        const choices = $(name).options && [...$(name).options].map((option) => option.value);
        if (choices && !choices.includes(String(value))) throw new Error(`its ${name} ${value} is not offered here`);
      }
      this.values = told.settings;
      say("");
    } catch (error) {
      say(`${file.name} cannot be taken: ${error instanceof SyntaxError ? "it is no file of settings" : error.message}`);
    } finally {
      $("load-settings").value = "";
    }
  }

  #set(name, value) {
    if (!$(name)) return;
    $(name).value = value === this.options.controls[name]?.off ? "" : value;
    $(`${name}-slider`)?.dispatchEvent(new Event("follow"));
  }

  #takePreset() {
    for (const [name, value] of Object.entries(this.method.presets[$("preset").value])) this.#set(name, value);
  }

  // The class: for a prior that has some, and none where it knows pictures without one; guidance leads from none to one.
  #takePrior() {
    const labels = this.options.labels[$("prior").value];
    $("label-row").hidden = !labels;
    if (!labels) $("label").value = "";
    else if (!labels.optional && !$("label").value) $("label").value = 0;
    $("label").max = labels?.most ?? "";
    $("label").placeholder = labels?.optional ? "none" : "";
    this.#showControls();
  }

  #showControls() {
    const guides = this.options.labels[$("prior").value]?.optional;
    for (const name of Object.keys(this.options.controls)) {
      $(`${name}-row`).hidden = !this.method.controls.includes(name) || (name === "guidance" && !guides);
    }
    if (!guides) $("guidance").value = "";
  }

  #takeMethod() {
    const { about, presets, masks, tiles, pyramid } = this.method;
    const chosen = $("preset").value;
    $("preset").replaceChildren();
    fill("preset", Object.keys(presets));
    if (chosen in presets) $("preset").value = chosen;
    $("preset-label").hidden = Object.keys(presets).length < 2;
    this.#showControls();
    $("about-method").textContent = `${about}${masks ? "" : " It takes no mask."}`;
    for (const [fit, can] of Object.entries({ tile: tiles, pyramid })) {
      $("fit").querySelector(`[value=${fit}]`).disabled = !can;
      if (!can && $("fit").value === fit) $("fit").value = "auto";
    }
    this.#takePreset();
  }
}

function fill(id, values) {
  $(id).append(...values.map((value) => element("option", { value, textContent: value })));
}

// A setting: a name among several, or a number with a slider that moves it where it has a range; the number is what counts.
function row(name, control) {
  const made = element("div", { id: `${name}-row`, className: "control" });
  const label = element("label", { htmlFor: name, textContent: control.label });
  label.append(" ", element("small", { textContent: control.about }));
  made.append(label);
  if (control.kinds.length) {
    made.append(element("select", { id: name }, ...control.kinds.map((kind) => new Option(kind))));
    return made;
  }
  const number = element("input", { id: name, inputMode: control.whole ? "numeric" : "decimal", size: 6 });
  if (control.least !== undefined) made.append(slider(number, control));
  made.append(number);
  return made;
}

function slider(number, { label, least, most, logarithmic }) {
  const [up, down] = logarithmic ? [Math.log10, (x) => Number((10 ** x).toPrecision(2))] : [Number, Number];
  const range = { type: "range", step: logarithmic ? 0.01 : (most - least) / 100, min: up(least), max: up(most) };
  const made = element("input", { id: `${number.id}-slider`, ariaLabel: `${label}, slider`, ...range });
  const follow = () => (made.value = up(parseFloat(number.value)));
  on(made, "input", () => (number.value = down(made.value)));
  on(made, "follow", follow);
  on(number, "input", follow);
  return made;
}
