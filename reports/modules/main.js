// Starts the page: table first, charts when everything else is on the screen.

import { byId, fill, make } from "./dom.js";
import { readData, score } from "./data.js";
import { createStore, readHash, withView } from "./state.js";
import { layerColumns, layerLink } from "./columns.js";
import { createTable } from "./table.js";
import { createToolbar } from "./toolbar.js";
import { drawChart, redrawAll } from "./charts.js";
import { createGraph } from "./graph.js";
import { drawLayer } from "./layer.js";
import { cosineText, shortened, sqnrText } from "./text.js";

const THEMES = ["system", "light", "dark"];

function start() {
  const data = readData(JSON.parse(byId("page-data").textContent));
  for (const [key, position] of [...data.positions]) data.positions.set(key.toWellFormed(), position);
  const store = createStore(withView(readHash(location.hash)));
  const tables = startTables(data, store);
  const graph = createGraph(data, store);
  startTheme(graph);
  startChart(data, store);
  startTask(data, store);
  startTuning(data, store);
  store.listen((state, previous) => {
    showView(state, previous);
    tables.forEach((table) => table.follow(state, previous));
    if (state.view === "layer" && (previous.layer !== state.layer || previous.view !== "layer")) drawLayer(data, state, store);
    graph.update(state);
    followSelection(data, state, previous);
  });
  byId("layers").hidden = false;
  byId("error-along").hidden = false;
  startKeys(store, tables[0].toolbar);
  store.start();
  performance.mark("table");
}

/** The layer table, and the one against the baseline. */
function startTables(data, store) {
  const columns = layerColumns(data);
  const worst = `${data.judged}.sqnr_db`;
  const made = [tableWith(data, store, columns, { place: "layer-table", tools: "layer-tools", label: "Layers", prefix: "", sort: columns.some((c) => c.id === worst) ? "verdict" : "index", count: byId("layer-count"), view: "overview" })];
  if (data.raw.baseline) {
    const name = data.raw.baseline.comparison;
    const wanted = ["index", "verdict", "layer", "type", "before", `${name}.sqnr_db`, "change", "verdict_before"];
    const own = columns.map((column) => ({ ...column, shown: wanted.includes(column.id) }));
    made.push(tableWith(data, store, own, { place: "compare-table", tools: "compare-tools", label: "Layers against the baseline", prefix: "c_", sort: "change", count: null, view: "compare" }));
  }
  return made;
}

function tableWith(data, store, columns, options) {
  const table = createTable({ ...options, data, columns, store, place: byId(options.place) });
  const toolbar = createToolbar(byId(options.tools), table, data, columns, store);
  const names = ["sort", "q", "verdict", "type", "by", "min", "max", "cols"].map((name) => options.prefix + name);
  let drawn = false;
  const follow = (state, previous) => {
    if (state.view !== options.view) return;
    if (!drawn || names.some((name) => state[name] !== previous[name])) table.update(state);
    drawn = true;
    table.select(data.positions.get(state.layer) ?? -1);
  };
  return { follow, toolbar };
}

/** Shows one view; the tab says which. */
function showView(state, previous) {
  const known = document.querySelector(`[data-view="${CSS.escape(state.view)}"]`) ? state.view : "overview";
  for (const section of document.querySelectorAll("[data-view]")) {
    section.hidden = false;
    section.classList.toggle("active", section.dataset.view === known);
  }
  for (const tab of document.querySelectorAll("[data-tab]")) {
    if (tab.dataset.tab === known) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
    const kept = state.layer !== undefined ? `&layer=${encodeURIComponent(state.layer)}` : "";
    tab.href = `#view=${tab.dataset.tab}${kept}`;
  }
  if (previous.view !== undefined && (previous.view !== state.view || (known === "layer" && previous.layer !== state.layer))) scrollTo(0, 0);
}

/** The chart along the network. */
function startChart(data, store) {
  const place = byId("network-chart");
  const metric = byId("chart-metric");
  const reading = byId("chart-reading");
  const { figures, readings, metrics } = data.raw;
  for (const [name, title] of Object.entries(metrics)) metric.append(make("option", { value: name }, title));
  for (const name of Object.keys(figures)) reading.append(make("option", { value: name }, readings[name]));
  reading.parentElement.hidden = Object.keys(figures).length < 2;
  metric.addEventListener("change", () => store.set({ metric: metric.value }, { replace: true }));
  reading.addEventListener("change", () => store.set({ error: reading.value }, { replace: true }));
  const note = make("p", { class: "small", role: "status", id: "chart-selected" });
  place.after(note);
  let shown = "";
  const draw = (state) => {
    const chosen = Object.hasOwn(metrics, state.metric) ? state.metric : "sqnr_db";
    const read = Object.hasOwn(figures, state.error) ? state.error : "accumulated";
    const wanted = `${read} ${chosen} ${state.layer ?? ""}`;
    if (state.view !== "overview" || wanted === shown) return;
    shown = wanted;
    metric.value = chosen;
    reading.value = read;
    const selected = data.positions.get(state.layer) ?? -1;
    const adjust = (spec, dark) => {
      if (selected < 0) return;
      const line = { color: dark ? "#6cb0ff" : "#0b5cad", width: 1.5 };
      spec.layout.shapes = [...spec.layout.shapes, { type: "line", yref: "paper", y0: 0, y1: 1, x0: selected, x1: selected, line }];
    };
    const click = (point) => store.set({ layer: data.key[point.x].toWellFormed(), view: "overview" });
    drawChart(place, { data, figure: figures[read][chosen], label: chartLabel(data, chosen), click, adjust });
  };
  store.listen(draw);
}

/** What each lane loses of the task, beside the guide's two figures. */
function startTask(data, store) {
  drawOnce(store, "task-chart", data, data.raw.task, "Loss of each lane against float in points, with its 95 % interval; lines at 0.5 and 1 point.");
}

/** How much error was left at each evaluation of a tuning. */
function startTuning(data, store) {
  drawOnce(store, "tuning-chart", data, data.raw.tuning, "Error left, training loss and lowest cosine at each evaluation of the tuning.");
}

/** Draw a chart of the overview when that is first looked at. */
function drawOnce(store, id, data, figure, label) {
  if (!figure) return;
  let drawn = false;
  store.listen((state) => {
    if (drawn || state.view !== "overview") return;
    drawn = true;
    drawChart(byId(id), { data, figure, label });
  });
}

function chartLabel(data, metric) {
  const values = data.key.map((_, position) => score(data, data.judged, metric, position));
  const known = values.map((value, position) => [value, position]).filter(([value]) => value !== null);
  if (!known.length) return `${data.raw.metrics[metric]} along the network: no values`;
  const [lowest, position] = known.reduce((least, entry) => (entry[0] < least[0] ? entry : least));
  return `${data.raw.metrics[metric]} of each lane along the ${data.count} layers; lowest ${lowest} at ${shortened(data.key[position], 80)}. The numbers stand in a table below.`;
}

function followSelection(data, state, previous) {
  const note = byId("chart-selected");
  const position = data.positions.get(state.layer) ?? -1;
  if (state.view !== "overview" || (state.layer === previous.layer && previous.view === state.view)) return;
  if (position < 0) fill(note);
  else {
    const numbers = `cosine ${cosineText(score(data, data.judged, "cosine", position))}, ${sqnrText(score(data, data.judged, "sqnr_db", position), score(data, data.judged, "status", position))} dB. `;
    fill(note, "Selected: ", layerLink(data, position), ` (${shortened(data.type[position], 40)}), ${numbers}`);
  }
}

function startTheme(graph) {
  const button = byId("theme");
  const label = button.querySelector("span");
  const read = () => {
    try {
      return localStorage.getItem("gfpq-inspect-theme") ?? "system";
    } catch {
      return "system";
    }
  };
  let theme = THEMES.includes(read()) ? read() : "system";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    document.documentElement.classList.toggle("dark", theme === "dark" || (theme === "system" && system.matches));
    label.textContent = theme;
    redrawAll();
    graph.redraw();
  };
  button.hidden = false;
  label.textContent = theme;
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    try {
      localStorage.setItem("gfpq-inspect-theme", theme);
    } catch {
      // Storage may be forbidden; the choice then lasts as long as the page.
    }
    apply();
  });
  system.addEventListener("change", apply);
}

function startKeys(store, toolbar) {
  addEventListener("keydown", (event) => {
    const typing = event.target.matches?.("input, select, textarea");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      if (store.get().view !== "overview") store.set({ view: "overview" });
      toolbar.focusSearch();
    } else if (event.key === "Escape" && !typing) {
      const { view, layer } = store.get();
      if (view !== "overview") store.set({ view: "overview" });
      else if (layer !== undefined) store.set({ layer: undefined });
    }
  });
}

start();
