// The page of `code-jax demo`. The server keeps nothing: a request carries all that its result depends on, and is answered with a
// line of JSON an event. Closing the request cancels the work.

const $ = (id) => document.getElementById(id);
const SETTINGS = ["prior", "method", "preset", "depth", "relative-step", "eta", "ode-steps", "langevin-steps", "seed", "samples", "fit"];
let options, source, shown, painted = false, masked = false, working = null, made = null;

function say(message) {
  $("message").textContent = message;
  $("message").hidden = !message;
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function settings() {
  const form = Object.fromEntries(SETTINGS.map((id) => [id, $(id).value]));
  form.eta = form.eta || "none";
  return form;
}

// Events of an answer, a line each.
async function* events(path, form, signal) {
  const answer = await fetch(path, { method: "POST", body: JSON.stringify(form), signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    const lines = (rest + (value ?? "")).split("\n");
    rest = lines.pop();
    for (const line of done && rest ? [...lines, rest] : lines) yield JSON.parse(line);
    if (done) return;
  }
}

// Follows one answer at a time; what goes wrong is said on the page.
async function follow(path, form, panel, take) {
  working?.abort();
  const mine = (working = new AbortController());
  const [bar, status] = [panel.querySelector("progress"), panel.querySelector(".status")];
  panel.querySelector(".working").hidden = false;
  document.querySelectorAll(".cancel").forEach((button) => (button.disabled = false));
  bar.removeAttribute("value");
  status.textContent = "starting";
  say("");
  let ended = "the server ended the answer too early";
  try {
    for await (const event of events(path, form, mine.signal)) {
      if (event.event === "error") throw new Error(event.message);
      if (event.done !== undefined) {
        bar.value = event.done / event.of;
        status.textContent = event.done ? `${event.done} of ${event.of} steps` : "compiling, where this program is new";
      }
      if (event.event === "result") ended = "";
      take(event);
    }
    if (ended) throw new Error(ended);
    status.textContent = "done";
  } catch (error) {
    const lost = error instanceof TypeError ? "the server cannot be reached: is code-jax demo still running?" : error.message;
    if (working === mine || error.name !== "AbortError") {
      status.textContent = error.name === "AbortError" ? "cancelled" : "failed";
      bar.value = 0;
      if (error.name !== "AbortError") say(lost);
    }
  } finally {
    if (working === mine) {
      working = null;
      document.querySelectorAll(".cancel").forEach((button) => (button.disabled = true));
    }
  }
}

// The picture: a file or a sample, as the prior sees it, and what is painted on it.

async function load() {
  if (!source) return;
  const form = { ...settings(), ...source, corruption: $("corruption").value, severity: $("severity").value };
  const asked = source;
  try {
    for await (const event of events("picture", form)) {
      if (event.event === "error") throw new Error(event.message);
      if (asked !== source) return;
      await show(event.picture);
    }
    say("");
  } catch (error) {
    source = shown = undefined;
    $("easel").hidden = true;
    say(error instanceof TypeError ? "the server cannot be reached: is code-jax demo still running?" : error.message);
  }
}

async function show(url) {
  const image = element("img", { src: url });
  await image.decode();
  shown = url;
  painted = masked = false;
  for (const canvas of [$("picture"), $("mask")]) Object.assign(canvas, { width: image.width, height: image.height });
  context("picture").drawImage(image, 0, 0);
  $("brush").max = Math.max(4, image.width / 3);
  $("easel").hidden = false;
}

const context = (id) => $(id).getContext("2d", { willReadFrequently: true });

function choose(chosen) {
  source = chosen;
  for (const button of $("pictures").children) button.ariaPressed = String(button.title === chosen.sample);
  return load();
}

function chooseFile(file) {
  if (!file) return;
  const reader = new FileReader();
  reader.onload = () => choose({ picture: reader.result });
  reader.onerror = () => say(`${file.name} cannot be read`);
  reader.readAsDataURL(file);
}

function paint(from, to) {
  const tool = document.querySelector("[name=tool]:checked").value;
  const pen = context(tool === "mask" ? "mask" : "picture");
  pen.lineCap = "round";
  pen.lineWidth = $("brush").value;
  pen.strokeStyle = tool === "mask" ? "#f00" : $("colour").value;
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(...to);
  pen.stroke();
  if (tool === "mask") masked = true;
  else painted = true;
}

// What is sent: the picture, and the mask in white on black.
function work() {
  if (!shown) return source ?? {};
  const form = { picture: painted ? $("picture").toDataURL() : shown };
  if (!masked) return form;
  const canvas = element("canvas", { width: $("mask").width, height: $("mask").height });
  const pen = canvas.getContext("2d");
  const pixels = context("mask").getImageData(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < pixels.data.length; i += 4) {
    pixels.data.fill(pixels.data[i + 3] > 127 ? 255 : 0, i, i + 3);
    pixels.data[i + 3] = 255;
  }
  pen.putImageData(pixels, 0, 0);
  return { ...form, mask: canvas.toDataURL() };
}

// Results.

// Shows one result of those made of an input: {input, mask, results, latents, diversity}.
function present(sample) {
  const { input, mask, results, latents, diversity } = made;
  const event = results[sample];
  $("before").src = $("download-input").href = input;
  $("after").src = $("download").href = event.picture;
  $("download").download = results.length > 1 ? `result_${sample + 1}.png` : "result.png";
  $("download-mask").hidden = !mask;
  if (mask) $("download-mask").href = mask;
  const facts = Object.entries(event.facts).filter(([, value]) => value !== null);
  if (diversity !== undefined) facts.push([`diversity: RMS difference of the ${results.length} samples`, diversity.toFixed(4)]);
  $("facts").replaceChildren(
    ...facts.flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value })]),
  );
  $("chosen").replaceChildren(...(results.length > 1 ? results.map((each, k) => sampleButton(each, k, k === sample)) : []));
  $("strip").replaceChildren();
  (latents[sample] ?? []).forEach(addLatent);
  $("command").textContent = event.command;
  $("python").textContent = event.python;
  for (const id of ["compare", "beside", "origin"]) $(id).hidden = false;
}

function sampleButton(event, sample, pressed) {
  const name = `sample ${sample + 1}`;
  const button = element("button", { title: name, ariaPressed: String(pressed) }, element("img", { src: event.picture, alt: name }));
  button.onclick = () => (present(sample), $("chosen").children[sample].focus());
  return button;
}

function addLatent(event) {
  $("way").hidden = false;
  const last = $("strip").lastElementChild;
  let frames = last?.dataset.stage === event.stage ? last.querySelector(".frames") : null;
  if (!frames) {
    frames = element("div", { className: "frames" });
    const figure = element("figure", {}, element("figcaption", { textContent: event.stage }), frames);
    figure.dataset.stage = event.stage;
    $("strip").append(figure);
  }
  const sigma = event.sigma ? event.sigma.toPrecision(2) : "0";
  frames.append(element("div", {}, element("img", { src: event.picture, alt: `${event.stage}, σ ${sigma}` }), `σ ${sigma}`));
}

function restore() {
  const form = { ...settings(), ...work() };
  const mine = { mask: form.mask, results: [], latents: [] };
  let at = 0;
  $("strip").replaceChildren();
  $("nothing").hidden = true;
  const ended = follow("restore", form, $("panel-restore"), (event) => {
    if (event.event === "input") mine.input = event.picture;
    if (event.event === "latent") {
      (mine.latents[event.sample] ??= []).push(event);
      if (event.sample === 0) addLatent(event);
    }
    if (event.event === "diversity") mine.diversity = event.value;
    if (event.event === "result") mine.results.push(event);
    if (!["result", "diversity"].includes(event.event)) return;
    if (made === mine) at = [...$("chosen").children].findIndex((button) => button.ariaPressed === "true");
    made = mine;
    present(Math.max(at, 0));
  });
  return ended.then(() => !working && made && made !== mine && present(0)); // what was there before stays whole
}

function sweep() {
  const form = { ...settings(), ...work(), depths: $("depths").value, "relative-steps": $("relative-steps").value };
  const [rows, columns] = ["depths", "relative-steps"].map((id) => $(id).value.split(/[\s,]+/).filter(Boolean));
  const cells = rows.map(() => columns.map(() => element("td")));
  const head = columns.map((step) => element("th", { textContent: `h ${step}` }));
  const body = rows.map((depth, i) => element("tr", {}, element("th", { textContent: `depth ${depth}` }), ...cells[i]));
  $("cells").replaceChildren(element("tr", {}, element("th"), ...head), ...body);
  let input;
  return follow("sweep", form, $("panel-sweep"), (event) => {
    if (event.event === "input") input = event.picture;
    if (event.event !== "result") return;
    const name = `depth ${event.depth}, step size ${event.relative_step}`;
    const button = element("button", { title: name }, element("img", { src: event.picture, alt: name }));
    button.onclick = () => {
      setNumber("depth", event.depth);
      setNumber("relative-step", event.relative_step);
      made = { input, mask: form.mask, results: [event], latents: [] };
      $("way").hidden = $("nothing").hidden = true;
      present(0);
      openTab("restore");
    };
    cells[event.row][event.column].replaceChildren(button);
  });
}

// Controls: a slider moves its number, the number is what counts.

const SCALES = { depth: [Number, Number], eta: [Number, Number], "relative-step": [Math.log10, (x) => Number((10 ** x).toPrecision(2))] };

function setNumber(id, value) {
  $(id).value = value;
  $(`${id}-slider`).value = SCALES[id][0](value);
}

function takePreset() {
  const preset = options.presets[$("preset").value];
  setNumber("depth", preset.depth);
  setNumber("relative-step", preset.relative_step);
  setNumber("eta", preset.eta);
  $("langevin-steps").value = preset.langevin_steps;
}

function openTab(name) {
  for (const tab of ["restore", "sweep"]) {
    $(`tab-${tab}`).ariaSelected = String(tab === name);
    $(`tab-${tab}`).tabIndex = tab === name ? 0 : -1;
    $(`panel-${tab}`).hidden = tab !== name;
  }
}

// The clipboard is there for secure addresses only; elsewhere the text is selected.
async function copy(button, text) {
  getSelection().selectAllChildren(text);
  await navigator.clipboard?.writeText(text.textContent);
  button.textContent = navigator.clipboard ? "Copied" : "Selected";
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

function fill(id, values) {
  $(id).append(...values.map((value) => element("option", { value, textContent: value })));
}

function listen() {
  for (const [id, [toSlider, toNumber]] of Object.entries(SCALES)) {
    $(`${id}-slider`).oninput = () => ($(id).value = toNumber($(`${id}-slider`).value));
    $(id).oninput = () => ($(`${id}-slider`).value = toSlider($(id).value));
  }
  $("preset").onchange = takePreset;
  $("method").onchange = () => ($("ode-steps").value = $("method").value === "sdedit" ? 20 : 10);
  for (const id of ["prior", "fit", "corruption", "severity"]) $(id).onchange = load;
  $("corruption").addEventListener("change", () => ($("severity").disabled = !$("corruption").value));
  $("seed").addEventListener("change", () => $("corruption").value && load());
  $("form").onsubmit = (event) => event.preventDefault();
  $("restore").onclick = restore;
  $("sweep").onclick = sweep;
  document.querySelectorAll(".cancel").forEach((button) => (button.onclick = () => working?.abort()));
  for (const [tab, other] of [["restore", "sweep"], ["sweep", "restore"]]) {
    $(`tab-${tab}`).onclick = () => openTab(tab);
    $(`tab-${tab}`).onkeydown = (event) => ["ArrowLeft", "ArrowRight"].includes(event.key) && (openTab(other), $(`tab-${other}`).focus());
  }
  for (const button of document.querySelectorAll("[data-copies]")) {
    button.onclick = () => copy(button, $(button.dataset.copies));
  }
  $("compare-slider").oninput = () => $("compare").style.setProperty("--at", `${$("compare-slider").value}%`);
  $("file").onchange = () => chooseFile($("file").files[0]);
  $("drop").onkeydown = (event) => ["Enter", " "].includes(event.key) && (event.preventDefault(), $("file").click());
  document.addEventListener("dragover", (event) => (event.preventDefault(), $("drop").classList.add("over")));
  document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop").classList.remove("over");
    chooseFile(event.dataTransfer.files[0]);
  });
  $("clear").onclick = () => shown && show(shown);
  let last = null;
  const at = (event) => {
    const box = $("picture").getBoundingClientRect();
    const scale = $("picture").width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  };
  $("canvases").onpointerdown = (event) => {
    $("canvases").setPointerCapture(event.pointerId);
    paint((last = at(event)), last);
  };
  $("canvases").onpointermove = (event) => last && (paint(last, at(event)), (last = at(event)));
  $("canvases").onpointerup = $("canvases").onpointercancel = () => (last = null);
}

async function begin() {
  options = await (await fetch("options")).json();
  $("about").textContent = `version ${options.version}, on ${options.device}`;
  fill("prior", Object.keys(options.priors));
  fill("preset", Object.keys(options.presets));
  fill("method", options.methods);
  fill("corruption", options.corruptions);
  $("corrupting").hidden = !options.corruptions.length;
  for (const name of options.samples) {
    const button = element("button", { type: "button", title: name }, element("img", { src: `samples/${name}`, alt: name }));
    button.onclick = () => choose({ sample: name });
    $("pictures").append(button);
  }
  takePreset();
  listen();
}

begin().catch(() => say("the server cannot be reached: is code-jax demo still running?"));
