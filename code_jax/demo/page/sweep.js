// A grid of noise levels and step sizes, a cell of which is taken over by a click.

import { $, element, on } from "./dom.js";
import { Result } from "./results.js";

// taken: called with a cell's result and its noise level and step size.
export function sweep(work, form, name, taken) {
  const grid = { sigmas: $("sigmas").value, "relative-steps": $("relative-steps").value };
  const [rows, columns] = Object.values(grid).map((numbers) => numbers.split(/[\s,]+/).filter(Boolean));
  const cells = rows.map(() => columns.map(() => element("td")));
  const head = columns.map((step) => element("th", { scope: "col", textContent: `r ${step}` }));
  const body = rows.map((sigma, i) => element("tr", {}, element("th", { scope: "row", textContent: `σ ${sigma}` }), ...cells[i]));
  $("cells").replaceChildren(element("tr", {}, element("td"), ...head), ...body);
  let input;
  return work.run("sweep", { ...form, ...grid }, (event) => {
    if (event.event === "input") input = event;
    if (event.event !== "result") return;
    const point = { sigma: event.sigma, relative_step: event.relative_step };
    const result = new Result(name, { ...form, ...point });
    [input, event].forEach((each) => result.take(each));
    const title = `σ ${event.sigma}, r ${event.relative_step}`;
    const button = element("button", { type: "button", title }, element("img", { src: result.results[0].picture, alt: title }));
    on(button, "click", () => taken(result, point));
    cells[event.row][event.column].replaceChildren(button);
  });
}
