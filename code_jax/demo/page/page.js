// The page of `code-jax demo`: what its parts say to each other.

import { Brush } from "./brush.js";
import { $, blobOf, clock, counted, imageOf, on, say } from "./dom.js";
import { History } from "./history.js";
import { Pictures, sent } from "./pictures.js";
import { Result, Results, stages } from "./results.js";
import { events, options, watch } from "./server.js";
import { Settings } from "./settings.js";
import { Stage } from "./stage.js";
import { sweep } from "./sweep.js";
import { Work } from "./work.js";

let settings, pictures, brush, results, history, work;
let size = null; // [height, width] of the picture that is shown
let shownFor = null; // the prior and fit that it is shown for
let asked = null; // the last question about a picture or its cost
let objected = false; // whether that was answered by a message

// The picture as it will be worked on; what it was before goes.
async function load(item) {
  size = null;
  shownFor = viewed();
  brush.take("look");
  results.forget();
  try {
    const form = { ...settings.values, ...(await sent(item)), ...corruption() };
    for await (const event of questions("picture", form)) {
      if (event.event === "cost") await cost(event);
      if (event.event !== "input") continue;
      const url = URL.createObjectURL(blobOf(event.picture));
      await brush.show(await imageOf(url));
      URL.revokeObjectURL(url);
      history.begin(snapshot());
      $("nothing").textContent = "Press Restore. Whatever you see can be zoomed, painted on and compared.";
      $("nothing").hidden = false;
    }
    say("");
  } catch (error) {
    if (error.name === "AbortError") return;
    if (size === null) $("stage-frame").hidden = true;
    say(error.message);
  }
}

// Events of a question; the one before is dropped.
function questions(path, form) {
  asked?.abort();
  asked = new AbortController();
  return events(path, form, asked.signal);
}

async function cost({ evaluations, windows, levels, seconds, size: [height, width], warnings }) {
  size = [height, width];
  const sizes = levels > 1 ? ` at ${counted(levels, "size")}` : "";
  const windowed = windows > 1 ? ` of ${counted(windows, "window")} each${sizes}` : "";
  const time = seconds === null ? "" : `, about ${clock(Math.max(seconds, 1))}`;
  $("cost").textContent = `${settings.chosen}: ${width}×${height} pixels, ${counted(evaluations, "evaluation")}${windowed}${time}`;
  $("warnings").textContent = warnings.join(" ");
}

async function askCost() {
  if (!size || work.running) return;
  try {
    for await (const event of questions("cost", { ...settings.values, size })) await cost(event);
    if (objected) say("");
    objected = false;
  } catch (error) {
    if (error.name === "AbortError") return;
    objected = true;
    say(error.message);
  }
}

function corruption() {
  return $("corruption").value ? { corruption: $("corruption").value, severity: $("severity").value } : {};
}

function snapshot() {
  return { strokes: brush.strokes, settings: settings.values };
}

// What of the settings changes the picture itself.
function viewed() {
  return ["prior", "fit", "max-side"].map((name) => settings.values[name]).join(" ");
}

function changed() {
  work.forget();
  if (pictures.current && size) history.note(snapshot());
}

function painted() {
  settings.suit(brush.masked);
  settingsChanged();
}

function settingsChanged() {
  changed();
  if (!pictures.current) return;
  if (shownFor === viewed()) askCost();
  else load(pictures.current);
}

// What determines a result: the picture as it came, or as it was painted on, and the mask.
async function order(item) {
  const mine = item === pictures.current && size;
  const picture = mine && brush.painted ? { picture: $("picture").toDataURL() } : { ...(await sent(item)), ...corruption() };
  return { ...settings.values, ...picture, ...(mine && brush.mask ? { mask: brush.mask } : {}) };
}

async function restore(item, changes = {}, which = "") {
  if (!item) return say("no picture: drop one on the page, or pick a sample");
  brush.take("look");
  let form;
  try {
    form = { ...(await order(item)), ...changes };
  } catch (error) {
    pictures.mark(item, "failed");
    return say(error.message);
  }
  const result = new Result(item.name, { ...settings.values, ...changes });
  if (form.mask) result.mask = URL.createObjectURL(blobOf(form.mask));
  pictures.mark(item, "restoring");
  const take = (event) => {
    result.take(event);
    if (event.event === "latent") live(event.picture, result.latents[event.sample]);
    if (event.event === "result" || event.event === "diversity") results.show(result);
  };
  const ended = await work.run("restore", form, take, which);
  live(null, []);
  if (result.results.length) await results.show(result);
  pictures.mark(item, ended);
  return ended;
}

// The picture as it is on its way.
function live(picture, latents) {
  $("live").hidden = !picture;
  if (!picture) return;
  $("live").src = picture;
  $("way").hidden = false;
  $("latents").replaceChildren(...stages(latents));
}

async function restoreAll() {
  const items = [...pictures.items];
  for (const [k, item] of items.entries()) {
    await pictures.select(item);
    if ((await restore(item, {}, `, picture ${k + 1} of ${items.length}`)) === "cancelled") return;
  }
}

function startSweep() {
  if (!pictures.current) return say("no picture: drop one on the page, or pick a sample");
  return order(pictures.current).then((form) =>
    sweep(work, { ...form, samples: "1" }, pictures.current.name, (result, point) => {
      settings.values = { ...settings.values, ...point };
      settingsChanged();
      results.show(result);
      $("stage").scrollIntoView({ block: "nearest" });
    }),
  );
}

// The stage in a dialog as large as the window: Escape closes it, and the keyboard stays within.
function enlarge() {
  $("large").append($("stage-frame"));
  $("enlarge").textContent = "Close";
  $("large").showModal();
  $("stage").focus();
}

function reduce() {
  $("stage-home").append($("stage-frame"));
  $("enlarge").textContent = "Enlarge";
  $("enlarge").focus();
}

function listen() {
  on($("form"), "submit", (event) => event.preventDefault());
  on($("restore"), "click", () => restore(pictures.current));
  on($("four"), "click", () => restore(pictures.current, { samples: "4" }));
  on($("restore-all"), "click", restoreAll);
  on($("sweep"), "click", startSweep);
  on($("enlarge"), "click", () => ($("large").open ? $("large").close() : enlarge()));
  on($("large"), "close", reduce);
  on($("close-message"), "click", () => say(""));
  on(document, "keydown", (event) => event.key === "Escape" && !$("large").open && say(""));
  for (const id of ["corruption", "severity"]) on($(id), "change", () => pictures.current && load(pictures.current));
  on($("seed"), "change", () => $("corruption").value && pictures.current && load(pictures.current));
  on($("corruption"), "change", () => ($("severity").disabled = !$("corruption").value));
}

async function begin() {
  const told = await options();
  $("about").textContent = `version ${told.version}, on ${told.device}`;
  for (const name of told.corruptions) $("corruption").append(new Option(name));
  work = new Work();
  const stage = new Stage();
  settings = new Settings(told, settingsChanged);
  brush = new Brush(stage, painted);
  results = new Results(stage, (values) => {
    settings.values = values;
    settingsChanged();
  });
  history = new History(({ strokes, settings: values }) => {
    brush.draw(strokes);
    settings.values = values;
    askCost();
  });
  pictures = new Pictures(told.samples, (item) => {
    if (item.state === "waiting") [$("corruption").value, $("severity").disabled] = ["", true];
    return load(item);
  });
  listen();
  watch();
}

begin().catch((error) => say(error.message));
