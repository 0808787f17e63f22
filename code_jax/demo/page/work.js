// What is being computed: one order at a time, its progress, and how it ended.

import { $, clock, on, say } from "./dom.js";
import { events, Lost, returned } from "./server.js";

const RESUMED = 3; // how often an order is asked for again when the server was started anew

export class Work {
  #running = null;

  constructor() {
    on($("cancel"), "click", () => this.cancel());
  }

  get running() {
    return this.#running !== null;
  }

  cancel() {
    this.#running?.abort();
  }

  // Follows an order, whose events `take` is given; "done", "failed" or "cancelled". An order that is lost is asked for again.
  // which: of several orders, in words.
  async run(path, form, take, which = "") {
    this.cancel();
    this.which = which;
    const mine = (this.#running = new AbortController());
    say("");
    this.#begin("starting");
    const ended = await this.#followed(path, form, take, mine.signal);
    if (this.#running === mine) {
      this.#running = null;
      this.#show(ended);
      this.#offer(false);
      $("left").textContent = "";
    }
    return ended;
  }

  // What an earlier order came to is forgotten with the next action.
  forget() {
    if (!this.running) this.#show("");
  }

  async #followed(path, form, take, signal) {
    for (let times = 0; ; times++) {
      try {
        for await (const event of events(path, form, signal)) {
          if (event.event === "progress") this.#progress(event);
          if (event.event === "again") this.#begin("begun anew, after what computed had to be stopped");
          take(event);
        }
        return "done";
      } catch (error) {
        if (error.name === "AbortError") return "cancelled";
        if (error instanceof Lost && times < RESUMED) {
          this.#begin("waiting for the server");
          try {
            await returned(signal);
          } catch (other) {
            say(other.message);
            return "failed";
          }
          if (signal.aborted) return "cancelled";
          take({ event: "again" });
          continue;
        }
        say(error.message);
        return "failed";
      }
    }
  }

  #begin(status) {
    this.#show(status);
    $("left").textContent = "";
    $("progress").removeAttribute("value");
    this.#offer(true);
  }

  // Cancelling in place of starting; the keyboard stays where it was.
  #offer(cancelling) {
    const focused = [$("restore"), $("four"), $("cancel")].includes(document.activeElement);
    $("restore").hidden = $("four").hidden = cancelling;
    $("cancel").hidden = $("progress-row").hidden = !cancelling;
    if (focused) $(cancelling ? "cancel" : "restore").focus();
  }

  #progress({ done, of, seconds_left: left }) {
    if (!done) return this.#show("compiling, where this program is new");
    this.#show(`restoring${this.which}`);
    $("progress").value = done / of;
    $("left").textContent = `evaluation ${done} of ${of}${left === null ? "" : `, ${clock(left)} left`}`;
  }

  #show(status) {
    if ($("status").textContent !== status) $("status").textContent = status; // said aloud when it changes
  }
}
