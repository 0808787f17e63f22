// The server: it keeps nothing. A request carries all that its result depends on, and is answered with a line of JSON an event;
// closing the request cancels the work.

import { said, say } from "./dom.js";

// The server did not answer, or not to the end.
export class Lost extends Error {}

const UNREACHABLE = "The server cannot be reached: is code-jax demo still running? This page goes on when it does.";
const ANEW = "The server was started anew. Everything on this page is still here.";
let start = null; // which of its starts the server is in

export async function options() {
  let answer;
  try {
    answer = await fetch("options");
  } catch {
    throw new Lost(UNREACHABLE);
  }
  if (!answer.ok) throw new Error(await answer.text());
  const told = await answer.json();
  const again = start !== null && start !== told.start;
  start = told.start;
  if (again) say(ANEW);
  else if (said() === UNREACHABLE) say("");
  return told;
}

export async function* events(path, form, signal) {
  let rest = "";
  const read = async (promise) => {
    try {
      return await promise;
    } catch (error) {
      throw error.name === "AbortError" ? error : new Lost(UNREACHABLE);
    }
  };
  const answer = await read(fetch(path, { method: "POST", body: JSON.stringify(form), signal }));
  if (answer.status !== 200 && answer.status !== 413) throw new Error(await answer.text());
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await read(reader.read());
    const lines = (rest + (value ?? "")).split("\n");
    rest = lines.pop();
    for (const line of done && rest ? [...lines, rest] : lines) {
      const event = JSON.parse(line);
      if (event.event === "end") return;
      if (event.event === "error") throw new Error(event.message);
      yield event;
    }
    if (done) throw new Lost(UNREACHABLE);
  }
}

// Waits until the server answers again.
export async function returned(signal) {
  say(UNREACHABLE);
  while (!signal?.aborted) {
    await new Promise((wake) => setTimeout(wake, 1000));
    try {
      return await options();
    } catch (error) {
      if (!(error instanceof Lost)) throw error;
    }
  }
}

// Looks now and then whether the server is there, as long as nobody is waiting for it already.
export function watch() {
  let lost = false;
  setInterval(async () => {
    if (document.hidden || lost) return;
    try {
      await options();
    } catch (error) {
      if (!(error instanceof Lost)) return say(error.message);
      lost = true;
      await returned().catch((other) => say(other.message));
      lost = false;
    }
  }, 5000);
}
