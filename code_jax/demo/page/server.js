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
  let begun = []; // pieces of a line: a picture's is long
  const read = async (promise) => {
    try {
      return await promise;
    } catch (error) {
      throw error.name === "AbortError" ? error : new Lost(UNREACHABLE);
    }
  };
  const answer = await read(fetch(path, { method: "POST", body: JSON.stringify(form), signal }));
  if (!answer.ok) {
    const told = await answer.text();
    throw new Error(told.startsWith("{") ? JSON.parse(told).message : told);
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await read(reader.read());
    const pieces = (value ?? "").split("\n");
    while (pieces.length > 1) {
      const event = JSON.parse([...begun, pieces.shift()].join(""));
      begun = [];
      if (event.event === "end") return;
      if (event.event === "error") throw new Error(event.message);
      yield event;
    }
    begun.push(pieces[0]);
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
