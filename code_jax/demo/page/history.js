// What was, to go back to and forth: snapshots that nobody changes.

import { $, on } from "./dom.js";

export class History {
  #past = [];
  #future = [];
  #now;

  constructor(apply) {
    this.apply = apply;
    on($("undo"), "click", () => this.undo());
    on($("redo"), "click", () => this.redo());
    on(document, "keydown", (event) => {
      if (!(event.ctrlKey || event.metaKey) || event.target.matches("input:not([type=range]):not([type=radio]), textarea")) return;
      const key = event.key.toLowerCase();
      if (key !== "z" && key !== "y") return;
      event.preventDefault();
      if (key === "y" || event.shiftKey) this.redo();
      else this.undo();
    });
  }

  // Begins anew from a snapshot.
  begin(snapshot) {
    [this.#past, this.#future, this.#now] = [[], [], snapshot];
    this.#show();
  }

  note(snapshot) {
    if (JSON.stringify(snapshot) === JSON.stringify(this.#now)) return;
    this.#past.push(this.#now);
    [this.#future, this.#now] = [[], snapshot];
    this.#show();
  }

  undo() {
    this.#move(this.#past, this.#future);
  }

  redo() {
    this.#move(this.#future, this.#past);
  }

  #move(from, to) {
    if (!from.length) return;
    to.push(this.#now);
    this.#now = from.pop();
    this.apply(this.#now);
    this.#show();
  }

  #show() {
    $("undo").disabled = !this.#past.length;
    $("redo").disabled = !this.#future.length;
  }
}
