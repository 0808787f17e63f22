// The page of `code-jax demo`. The server keeps nothing: a request carries all that its result depends on, and is answered with a
// line of JSON an event. Closing the request cancels the work.

const $ = (id) => document.getElementById(id);
const SETTINGS = ["prior", "method", "preset", "depth", "relative-step", "eta", "ode-steps", "langevin-steps", "seed", "fit"];
let options, source, shown, painted = false, masked = false, working = null;

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
        status.textContent = event.done ? `${event.done} of ${event.of} moves` : "compiling, where this program is new";
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
  for (const button of $("samples").children) button.ariaPressed = String(button.title === chosen.sample);
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

function present(event, input, mask) {
  $("before").src = $("download-input").href = input;
  $("after").src = $("download").href = event.picture;
  $("download-mask").hidden = !mask;
  if (mask) $("download-mask").href = mask;
  $("facts").replaceChildren();
  for (const [name, value] of Object.entries(event.facts)) {
    if (value !== null) $("facts").append(element("dt", { textContent: name }), element("dd", { textContent: value }));
  }
  $("command").textContent = event.command;
  $("python").textContent = event.python;
  for (const id of ["compare", "downloads", "origin"]) $(id).hidden = false;
}

function addLatent(event) {
  const last = $("strip").lastElementChild;
  let frames = last?.dataset.stage === event.stage ? last.querySelector(".frames") : null;
  if (!frames) {
    frames = element("div", { className: "frames" });
    const figure = element("figure", {}, element("figcaption", { textContent: event.stage }), frames);
    figure.dataset.stage = event.stage;
    $("strip").append(figure);
  }
  const sigma = event.sigma.toPrecision(2);
  frames.append(element("div", {}, element("img", { src: event.picture, alt: `${event.stage}, σ ${sigma}` }), `σ ${sigma}`));
}

function restore() {
  const form = { ...settings(), ...work() };
  let input;
  $("strip").replaceChildren();
  return follow("restore", form, $("panel-restore"), (event) => {
    if (event.event === "input") input = event.picture;
    if (event.event === "latent") addLatent(event);
    if (event.event === "result") present(event, input, form.mask);
  });
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
      $("strip").replaceChildren();
      present(event, input, form.mask);
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
  $("langevin-steps").value = preset.langevin_steps;
}

function openTab(name) {
  for (const tab of ["restore", "sweep"]) {
    $(`tab-${tab}`).ariaSelected = String(tab === name);
    $(`panel-${tab}`).hidden = tab !== name;
  }
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
  $("seed").addEventListener("change", () => $("corruption").value && load());
  $("form").onsubmit = (event) => event.preventDefault();
  $("restore").onclick = restore;
  $("sweep").onclick = sweep;
  document.querySelectorAll(".cancel").forEach((button) => (button.onclick = () => working?.abort()));
  for (const tab of ["restore", "sweep"]) $(`tab-${tab}`).onclick = () => openTab(tab);
  for (const button of document.querySelectorAll("[data-copies]")) {
    button.onclick = () => navigator.clipboard.writeText($(button.dataset.copies).textContent);
  }
  $("compare-slider").oninput = () => $("compare").style.setProperty("--at", `${$("compare-slider").value}%`);
  $("file").onchange = () => chooseFile($("file").files[0]);
  $("drop").onkeydown = (event) => event.key === "Enter" && $("file").click();
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
    $("samples").append(button);
  }
  takePreset();
  setNumber("eta", 2);
  listen();
}

begin().catch(() => say("the server cannot be reached: is code-jax demo still running?"));
