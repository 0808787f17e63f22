// The pictures to work on: files, the camera's, or the package's own; several of them are a queue.

import { $, element, on } from "./dom.js";

export class Pictures {
  items = []; // each {name, file or sample, state}
  current = null;

  // chosen: called with the picture that is to be shown.
  constructor(samples, chosen) {
    this.chosen = chosen;
    for (const name of samples) {
      const button = element("button", { type: "button", title: name }, element("img", { src: `samples/${name}`, alt: name }));
      on(button, "click", () => this.take([{ name, sample: name }]));
      $("samples-of-ours").append(button);
    }
    for (const id of ["file", "camera"]) {
      on($(id), "change", () => {
        this.takeFiles($(id).files);
        $(id).value = ""; // the same file may be chosen again
      });
    }
    on(document, "dragover", (event) => {
      event.preventDefault();
      $("drop").classList.add("over");
    });
    on(document, "dragleave drop", () => $("drop").classList.remove("over"));
    on(document, "drop", (event) => {
      event.preventDefault();
      this.takeFiles(event.dataTransfer.files);
    });
    on(document, "paste", (event) => this.takeFiles(event.clipboardData.files));
  }

  takeFiles(files) {
    if (files.length) this.take([...files].map((file) => ({ name: file.name, file })));
  }

  take(items) {
    for (const item of this.items) if (item.thumbnail) URL.revokeObjectURL(item.thumbnail);
    this.items = items.map((item) => ({ ...item, state: "waiting", thumbnail: item.file && URL.createObjectURL(item.file) }));
    return this.select(this.items[0]);
  }

  select(item) {
    this.current = item;
    for (const button of $("samples-of-ours").children) button.ariaPressed = String(button.title === item.sample);
    this.show();
    return this.chosen(item);
  }

  mark(item, state) {
    item.state = state;
    this.show();
  }

  show() {
    $("queue").hidden = $("restore-all").hidden = this.items.length < 2;
    if (this.items.length < 2) return;
    const focused = [...$("queue-list").querySelectorAll("button")].indexOf(document.activeElement);
    $("restore-all").textContent = `Restore all ${this.items.length}`;
    $("queue-list").replaceChildren(...this.items.map((item) => element("li", {}, this.#button(item))));
    $("queue-list").querySelectorAll("button")[focused]?.focus();
  }

  #button(item) {
    const picture = element("img", { src: item.thumbnail, alt: "", loading: "lazy" });
    const words = element("span", {}, item.name, " ", element("small", { textContent: item.state }));
    const button = element("button", { type: "button", ariaPressed: String(item === this.current) }, picture, words);
    on(button, "click", () => this.select(item));
    return button;
  }
}

// What is sent of a picture: a sample's name, or the file's bytes.
export async function sent(item) {
  if (item.sample) return { sample: item.sample };
  const reader = new FileReader();
  const read = new Promise((resolve, reject) => {
    on(reader, "load", () => resolve(reader.result));
    on(reader, "error", () => reject(new Error(`${item.name} cannot be read: it was moved, or changed since it was chosen`)));
  });
  reader.readAsDataURL(item.file);
  return { picture: await read };
}
