// Charts: loads the chart library after everything else is on the screen, draws figures that Python defined.

import { byId, fill, make } from "./dom.js";
import { inflate, score } from "./data.js";
import { numberText, plotlyText } from "./text.js";

const CONFIG = {
  displaylogo: false,
  responsive: true,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "toImage"],
};
const drawn = new Set();
let library = null;

const parsed = () =>
  document.documentElement.dataset.library ? Promise.resolve() : new Promise((done) => addEventListener("library-parsed", done, { once: true }));
const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));

/** The chart library, inflated and loaded once. */
export function loadLibrary() {
  library ??= (async () => {
    await parsed();
    await painted();
    const block = byId("chart-library");
    const source = await inflate(block.textContent.trim()).blob();
    block.textContent = "";
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    await new Promise((done, failed) => {
      document.head.append(make("script", { src: address, onload: done, onerror: () => failed(new Error("the chart library did not load")) }));
    });
    URL.revokeObjectURL(address);
    return globalThis.Plotly;
  })();
  return library;
}

/** Waits until the first chart had its turn, so that long tables do not keep the reader waiting for it. */
export function afterCharts() {
  const patience = new Promise((done) => setTimeout(done, 3000));
  return Promise.race([patience, loadLibrary().then(painted, () => null)]);
}

/** Puts a figure's columns in place of their references, and the dark colours in place of the light ones. */
export function resolved(value, data, dark) {
  if (Array.isArray(value)) {
    return value.some((item) => typeof item === "object" || typeof item === "string") ? value.map((item) => resolved(item, data, dark)) : value;
  }
  if (value && typeof value === "object") {
    if (value.$column) {
      const [comparison, field] = value.$column;
      if (field === "name") return data.key.map(plotlyText);
      return data.key.map((_, position) => score(data, comparison, field, position));
    }
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, resolved(item, data, dark)]));
  }
  if (dark && typeof value === "string" && value in data.raw.dark) return data.raw.dark[value];
  return value;
}

/**
 * Draws a figure into a place; draws it again when the theme changes.
 * @param {object} options `data`, `figure`, `label` for those who do not see it, `click` (point index) and `adjust` (figure).
 */
export async function drawChart(place, options) {
  const { data, figure, label } = options;
  const key = {};
  place.chartKey = key;
  if (!place.querySelector(".js-plotly-plot")) {
    fill(place, make("div", { class: "pending" }, "Loading charts …"));
  }
  let plotly;
  try {
    plotly = await loadLibrary();
  } catch (error) {
    fill(place, make("div", { class: "pending" }, `Charts are not available: ${error.message}`));
    return;
  }
  if (place.chartKey !== key || !place.isConnected) return;
  const dark = document.documentElement.classList.contains("dark");
  const spec = resolved(figure, data, dark);
  spec.layout.hoverlabel = { ...spec.layout.hoverlabel, bgcolor: dark ? "#1d232b" : "#fff", bordercolor: dark ? "#2b323b" : "#d8dee4" };
  options.adjust?.(spec, dark);
  const existing = place.querySelector(".js-plotly-plot");
  const frame = existing ?? make("div", { role: "figure" });
  frame.setAttribute("aria-label", label);
  if (!existing) fill(place, frame);
  await plotly.react(frame, spec.data, spec.layout, CONFIG);
  if (!existing && options.click) frame.on("plotly_click", (event) => options.click(event.points[0]));
  place.redraw = () => drawChart(place, options);
  if (!drawn.size) performance.mark("chart");
  drawn.add(place);
  if (place.figure !== figure) place.querySelector(".chart-data")?.remove();
  place.figure = figure;
  if (!place.querySelector(".chart-data")) place.append(dataTable(figure, data));
}

/** Draws all charts on the page again, in the colours of the theme. */
export function redrawAll() {
  for (const place of drawn) {
    if (place.isConnected) place.redraw();
    else drawn.delete(place);
  }
}

/** The numbers behind a chart, as a table behind a button. */
export function dataTable(figure, data) {
  const details = make("details", { class: "chart-data" }, make("summary", {}, "Numbers"));
  details.addEventListener("toggle", () => {
    if (details.open && !details.querySelector("table")) details.append(tableOf(resolved(figure, data, false)));
  });
  return details;
}

function tableOf(spec) {
  const table = make("table");
  if (spec.data[0]?.z) heatRows(table, spec.data[0]);
  else seriesRows(table, spec);
  return make("div", { class: "scroll", role: "group", tabindex: "0", "aria-label": "Numbers behind the chart" }, table);
}

function seriesRows(table, spec) {
  const series = spec.data.filter((trace) => trace.y?.length);
  const labels = new Map();
  const cells = series.map((trace) => {
    const values = new Map();
    trace.y.forEach((value, at) => {
      const x = trace.x ? trace.x[at] : at;
      const own = typeof trace.customdata?.[at] === "object" ? `channel ${trace.customdata[at][0]}` : trace.text?.[at];
      if (typeof (labels.get(x) ?? 0) === "number") labels.set(x, own ?? x);
      values.set(x, value);
    });
    return values;
  });
  const titles = [spec.layout.xaxis?.title?.text ?? "", ...series.map((trace) => trace.name ?? "")];
  table.append(make("thead", {}, make("tr", {}, titles.map((title) => make("th", { scope: "col" }, plain(title))))));
  const body = make("tbody");
  for (const [x, label] of labels) {
    const numbers = cells.map((values) => make("td", { class: "number" }, values.has(x) ? numberText(values.get(x)) : ""));
    body.append(make("tr", {}, make("th", { scope: "row" }, plain(typeof label === "number" ? numberText(label) : String(label))), numbers));
  }
  table.append(body);
}

function heatRows(table, trace) {
  table.append(make("thead", {}, make("tr", {}, ["float", "quantized", trace.name].map((title) => make("th", { scope: "col" }, title)))));
  const body = make("tbody");
  trace.z.forEach((row, y) => row.forEach((value, x) => {
    if (value === null) return;
    const numbers = [trace.x[x], trace.y[y], value];
    body.append(make("tr", {}, numbers.map((number) => make("td", { class: "number" }, numberText(number)))));
  }));
  table.append(body);
}

/** Text that was escaped for Plotly, as plain text again. */
function plain(text) {
  return text.replace(/<br>/g, ", ").replace(/<[^>]*>/g, "").replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
}
