// The page of one layer, and its short form beside the graph.

import { byId, fill, make } from "./dom.js";
import { RANKING, evidence, hasScores, ranking, score, shares } from "./data.js";
import { drawChart } from "./charts.js";
import { layerLink, shareBar, verdictChip } from "./columns.js";
import { cosineText, numberText, percentText, shortened, sqnrText, visible } from "./text.js";

const FIRST_SCORES = ["cosine", "sqnr_db", "norm_ratio"];
const SIDE_SCORES = ["rel_l2", "max_abs_error", "mae", "rmse", "mean_error", "gain", "offset", "residual_db", "equal_share", "count", "nonfinite_reference", "nonfinite_test", "first_nonfinite"];
const TITLES = { sqnr_db: "SQNR, dB", rel_l2: "relative L2", residual_db: "residual, dB" };

const panel = (title, ...children) => make("section", { class: "panel" }, make("h2", {}, title), children);
const cell = (value, number = true) => make("td", { class: number ? "number" : null }, value);

/** The short form: verdict, lanes, shares, neighbours. */
export function layerSummary(data, position, store) {
  const open = () => store.set({ layer: data.key[position].toWellFormed(), view: "layer" });
  const rows = ranking(data)
    .filter((comparison) => hasScores(data, comparison.name, position))
    .map((comparison) =>
      make("tr", {}, make("th", { scope: "row" }, comparison.name), cell(cosineText(score(data, comparison.name, "cosine", position))), cell(sqnrText(score(data, comparison.name, "sqnr_db", position), score(data, comparison.name, "status", position)))),
    );
  const parts = shares(data, position);
  return [
    make("h2", { class: "layer-title", style: { fontSize: "14px", marginTop: "0" } }, make("bdi", {}, shortened(data.key[position], 120))),
    make("p", { class: "muted" }, shortened(data.type[position], 60), " · ", verdictChip(data.verdict[position])),
    data.cause[position] ? make("p", {}, `Cause: ${visible(data.causeReason[position] || data.cause[position])}`) : null,
    rows.length
      ? make("table", { style: { margin: "8px 0", width: "100%" } }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "lane"), make("th", { scope: "col", class: "number" }, "cosine"), make("th", { scope: "col", class: "number" }, "dB"))), make("tbody", {}, rows))
      : make("p", { class: "muted" }, visible(data.reason[position] || "Not compared.")),
    parts ? shareBar(parts) : null,
    parts ? shareLegend(parts) : null,
    make("p", { style: { marginTop: "12px" } }, make("button", { type: "button", onclick: open }, "Open the layer's page")),
  ];
}

function shareLegend(parts) {
  const entries = [["data", "data"], ["weight", "weights"], ["interaction", "interaction"]];
  return make("p", { class: "legend" }, entries.map(([name, title]) => make("span", {}, make("i", { class: name }), `${title} ${percentText(parts[name])}`)));
}

/** Draws the page of the layer that the state names; unknown names get a message. */
export async function drawLayer(data, state, store) {
  const place = byId("layer");
  const position = data.positions.get(state.layer) ?? -1;
  if (position < 0) {
    const text = state.layer === undefined ? "No layer is selected. Choose one in the table, the chart or the graph." : `There is no layer called “${shortened(state.layer, 200)}” in this result.`;
    fill(place, make("p", { class: "message" }, text, " ", make("a", { href: "#view=overview" }, "Go to the table")));
    return;
  }
  const grid = make("div", { class: "layer-grid" });
  fill(place, crumbs(data, position, store), heading(data, position), grid);
  const alone = localPanel(data, position);
  grid.append(...[scoresPanel(data, position, {}), madePanel(data, position), alone].filter(Boolean));
  const found = await evidence(data, position);
  if (data.positions.get(store.get().layer) !== position || store.get().view !== "layer") return;
  grid.firstChild.replaceWith(scoresPanel(data, position, found.scores ?? {}));
  if (alone) alone.replaceWith(localPanel(data, position, found.propagation ?? []));
  if (found.coefficients) grid.append(coefficientsPanel(found.coefficients));
  for (const entry of found.figures ?? []) grid.append(chartPanel(data, position, entry));
  const spreads = spreadsPanel(data, found.scores ?? {});
  if (spreads) grid.append(spreads);
  for (const table of found.tables ?? []) grid.append(tablePanel(table));
  if (!found.figures && hasScores(data, data.judged, position)) {
    const trimmed = data.raw.trimmed.includes(position);
    const text = trimmed ? "The charts of this layer were left out to keep the page small; the result file has them." : "This result holds no histograms or channels for this layer.";
    grid.append(make("p", { class: "muted" }, text));
  } else if (data.raw.trimmed.includes(position)) {
    grid.append(make("p", { class: "muted" }, "Charts of this healthy layer have fewer bins to keep the page small; the result file has all."));
  }
}

function crumbs(data, position, store) {
  const go = (step) => () => store.set({ layer: data.key[position + step].toWellFormed(), view: "layer" }, { replace: true });
  const step = (by, label) => make("button", { type: "button", onclick: position + by >= 0 && position + by < data.count ? go(by) : null, disabled: !(position + by >= 0 && position + by < data.count) }, label);
  const nextFlagged = data.verdict.findIndex((verdict, p) => p > position && verdict === "flagged");
  return make(
    "div",
    { class: "crumbs" },
    make("button", { type: "button", onclick: () => store.set({ view: "overview" }) }, "← Table"),
    make("button", { type: "button", onclick: () => store.set({ view: "graph" }) }, "Show in graph"),
    make("span", { class: "spacer" }),
    step(-1, "Previous"),
    step(1, "Next"),
    make("button", { type: "button", disabled: nextFlagged < 0, onclick: () => store.set({ layer: data.key[nextFlagged].toWellFormed(), view: "layer" }) }, "Next flagged"),
  );
}

function heading(data, position) {
  const facts = [
    ["Place", `${position + 1} of ${data.count}${data.isOutput[position] ? ", a network output" : ""}`],
    ["Output", data.shape[position].length ? `${data.shape[position].join(" × ")}, ${numberText(data.elements[position])} elements a sample` : "none"],
    ["Quantized", `${data.quantized[position] ? "yes" : "no"}${data.quantizationReason[position] ? `: ${visible(data.quantizationReason[position])}` : ""}`],
  ];
  if (data.reason[position]) facts.push([data.status[position] === "OK" ? "Paired" : "Not compared", visible(data.reason[position])]);
  if (data.partner[position] && data.partner[position] !== data.layer[position]) facts.push(["Partner", shortened(data.partner[position], 200)]);
  if (data.multiplyAdds[position]) facts.push(["Multiply-adds", numberText(data.multiplyAdds[position])]);
  if (data.sourceLine[position]) facts.push(["Source line", String(data.sourceLine[position])]);
  for (const note of data.notes[position]) facts.push(["Note", visible(note)]);
  const links = (title, list) => (list.length ? [[title, list.slice(0, 12).flatMap((p) => [layerLink(data, p), " "])]] : []);
  const all = [...facts, ...links("Reads", data.inputs[position]), ...links("Read by", data.readers[position])];
  const findings = data.raw.findings.filter((finding) => finding.layers.includes(position));
  if (findings.length) all.push(["Findings", findings.map((finding) => make("div", {}, `${finding.severity}: ${visible(finding.title)}`))]);
  return make(
    "div",
    {},
    make("p", { class: "lead" }, verdictChip(data.verdict[position]), make("span", { class: "muted" }, shortened(data.type[position], 60)), data.status[position] === "OK" ? null : make("span", { class: "muted" }, data.status[position])),
    make("h1", { class: "layer-title", tabindex: "-1", id: "layer-heading" }, make("bdi", {}, visible(data.key[position]))),
    make("dl", { class: "facts", style: { marginTop: "10px" } }, all.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])),
  );
}

/** All scores of the lanes side by side, as they run from their own inputs. */
function scoresPanel(data, position, side) {
  const lanes = ranking(data).filter((comparison) => hasScores(data, comparison.name, position));
  if (!lanes.length) return panel("Scores", make("p", { class: "muted" }, visible(data.reason[position] || "This layer was not compared.")));
  const section = panel(
    "Scores",
    scoreTable(data, position, lanes, side),
    reasonsOf(data, position, lanes),
    make("p", { class: "muted small" }, "● is what the verdict stands on. ", make("a", { href: "#view=help" }, "What the scores mean")),
  );
  if (lanes.length > 4) section.classList.add("wide");
  return section;
}

/** What this layer loses by itself, what arrived from before, what it added. */
function localPanel(data, position, propagation = []) {
  const lanes = data.comparisons.filter((comparison) => !RANKING.includes(comparison.kind) && hasScores(data, comparison.name, position));
  if (!lanes.length) return null;
  const note = "Local: this layer alone, fed with float data. Inherited: the float layer fed with the lane's data. Fresh: what this layer added to it.";
  const section = panel("This layer alone", scoreTable(data, position, lanes, {}), reasonsOf(data, position, lanes), make("p", { class: "muted small" }, note));
  for (const [lane, inherited, fresh, cross, gain] of propagation) {
    if (fresh === null) continue;
    const left = gain === null ? "" : `; of the relative error at its inputs ${percentText(gain)} is left at its output`;
    section.append(make("p", {}, `${visible(lane)}: ${percentText(inherited)} of the error's energy arrived, ${percentText(fresh)} was added here, ${percentText(cross)} is the cross term${left}.`));
  }
  section.classList.add("wide");
  return section;
}

function scoreTable(data, position, lanes, side) {
  const value = (lane, name) => (FIRST_SCORES.includes(name) ? score(data, lane.name, name, position) : (side[lane.name]?.[name] ?? null));
  const shown = (lane, name) => {
    if (name === "cosine") return cosineText(value(lane, name));
    if (name === "sqnr_db") return sqnrText(value(lane, name), score(data, lane.name, "status", position));
    return numberText(value(lane, name));
  };
  const names = [...FIRST_SCORES, ...SIDE_SCORES].filter((name) => FIRST_SCORES.includes(name) || lanes.some((lane) => value(lane, name) !== null));
  const head = make("tr", {}, make("th", { scope: "col" }, "score"), lanes.map((lane) => make("th", { scope: "col", class: "number", title: lane.title }, lane.name, lane.name === data.judged ? " ●" : "")));
  const rows = [
    make("tr", {}, make("th", { scope: "row" }, "status"), lanes.map((lane) => make("td", { class: "number", title: score(data, lane.name, "reason", position) }, score(data, lane.name, "status", position)))),
    ...names.map((name) => make("tr", {}, make("th", { scope: "row" }, TITLES[name] ?? name.replaceAll("_", " ")), lanes.map((lane) => cell(shown(lane, name))))),
  ];
  return make("div", { class: "scroll", role: "group", tabindex: "0", "aria-label": "Scores by lane" }, make("table", {}, make("thead", {}, head), make("tbody", {}, rows)));
}

function reasonsOf(data, position, lanes) {
  const reasons = [...new Set(lanes.map((lane) => score(data, lane.name, "reason", position)).filter(Boolean))];
  return reasons.map((reason) => make("p", { class: "muted" }, visible(reason)));
}

/** What made the error, for each network. */
function madePanel(data, position) {
  const bars = [["isolation", data.raw.models > 1 ? "First network" : ""], ["tunedIsolation", "Tuned network"]].flatMap(([member, title]) => {
    const columns = data[member];
    if (!columns || columns.share_data[position] === null) return [];
    const parts = { data: columns.share_data[position], weight: columns.share_weight[position], interaction: columns.interaction[position] };
    return [make("div", { style: { marginBottom: "12px" } }, title ? make("h3", {}, title) : null, shareBar(parts), shareLegend(parts))];
  });
  const judgement = data.cause[position] ? make("p", {}, make("b", {}, `Cause: ${visible(data.cause[position])}. `), visible(data.causeReason[position])) : null;
  const lanes = ranking(data).filter((lane) => score(data, lane.name, "sqnr_db", position) !== null);
  const top = Math.max(1, ...lanes.map((lane) => score(data, lane.name, "sqnr_db", position)));
  const bar = (lane) => {
    const value = score(data, lane.name, "sqnr_db", position);
    return make("tr", {}, make("th", { scope: "row" }, lane.name), make("td", { style: { width: "60%" } }, make("span", { class: "shares", style: { width: "100%" } }, make("i", { class: lane.name.includes("weight") ? "weight" : lane.name.includes("data") ? "data" : "both", style: { width: `${Math.max(0, (100 * value) / top)}%` } }))), cell(`${sqnrText(value)} dB`));
  };
  const table = lanes.length ? make("table", { style: { width: "100%", marginTop: "8px" } }, make("caption", {}, "SQNR of each lane; longer is better"), make("tbody", {}, lanes.map(bar))) : null;
  const nothing = make("p", { class: "muted" }, "Nothing to take apart: no error, or no lanes.");
  const section = panel("What made the error", judgement, make("div", { class: "halves" }, make("div", {}, bars.length ? bars : nothing), make("div", {}, table)));
  if (lanes.length > 4) section.classList.add("wide");
  return section;
}

function coefficientsPanel(rows) {
  const names = JSON.parse(byId("coefficient-columns").textContent);
  const at = (row, name) => row[names.indexOf(name)];
  const isGfpq = (row) => (at(row, "number_format") ?? "gfpq").startsWith("gfpq");
  const own = rows.some((row) => !isGfpq(row)) ? ["number_format", "scale", "zero_point"] : [];
  const wanted = ["model", "role", "tensor", "bits", ...own, "delta", "maximum", "grid_top", "grid_bottom", "snapped_share", "beyond_share", "flushed_share", "on_grid", "block"].filter((name) => (name === "delta" ? rows.some(isGfpq) : rows.some((row) => at(row, name) !== null)));
  const text = (row, name) => {
    const value = row[names.indexOf(name)];
    if (name === "delta" && !isGfpq(row)) return "–";
    if (name === "delta" && value === null) return `${row[names.indexOf("delta_low")]} to ${row[names.indexOf("delta_high")]}`;
    if (name.endsWith("_share")) return percentText(value);
    if (typeof value === "boolean") return value ? "yes" : "no";
    if (name === "block") return make("code", {}, visible(value ?? ""));
    return typeof value === "string" ? make("bdi", {}, shortened(value, 60)) : numberText(value);
  };
  const number = (name) => !["model", "role", "tensor", "number_format", "block", "on_grid"].includes(name);
  const head = wanted.map((name) => make("th", { scope: "col", class: number(name) ? "number" : null }, name.replaceAll("_", " ")));
  const body = rows.map((row) => make("tr", {}, wanted.map((name) => cell(text(row, name), number(name)))));
  const section = panel("Coefficients", make("div", { class: "scroll", role: "group", tabindex: "0", "aria-label": "Coefficients" }, make("table", {}, make("thead", {}, make("tr", {}, head)), make("tbody", {}, body))));
  section.classList.add("wide");
  return section;
}

function spreadsPanel(data, side) {
  const rows = ranking(data).flatMap((lane) => {
    const [cosine, sqnr] = [side[lane.name]?.cosine_spread, side[lane.name]?.sqnr_db_spread];
    if (!cosine && !sqnr) return [];
    const part = (spread, at, show) => cell(spread ? show(spread[at]) : "–");
    const sample = (cosine ?? sqnr)[3];
    return [make("tr", {}, make("th", { scope: "row" }, lane.name), [0, 1, 2].map((at) => part(cosine, at, cosineText)), [0, 1, 2].map((at) => part(sqnr, at, (value) => sqnrText(value))), cell(make("bdi", {}, shortened(sample ?? "", 40)), false))];
  });
  if (!rows.length) return null;
  const titles = ["lane", "cosine, mean", "5th percentile", "lowest", "dB, mean", "5th percentile", "lowest", "lowest cosine at"];
  const head = titles.map((title, at) => make("th", { scope: "col", class: at > 0 && at < 7 ? "number" : null }, title));
  const section = panel("Over the samples", make("div", { class: "scroll", role: "group", tabindex: "0", "aria-label": "Scores over samples" }, make("table", {}, make("thead", {}, make("tr", {}, head)), make("tbody", {}, rows))));
  section.classList.add("wide");
  return section;
}

function chartPanel(data, position, entry) {
  const place = make("div", { class: "chart" });
  const section = panel(entry.title, make("p", { class: "muted small" }, visible(entry.note)), place);
  const label = `${entry.title} of ${shortened(data.key[position], 80)}. ${entry.note}`;
  requestAnimationFrame(() => drawChart(place, { data, figure: entry.figure, label: visible(label) }));
  return section;
}

function tablePanel(table) {
  const number = (at) => table.rows.every((row) => typeof row[at] !== "string");
  const head = table.columns.map((title, at) => make("th", { scope: "col", class: number(at) ? "number" : null }, visible(title)));
  const body = table.rows.map((row) => make("tr", {}, row.map((value) => cell(typeof value === "string" ? make("bdi", {}, shortened(value, 80)) : numberText(value), typeof value === "number"))));
  return panel(table.title, make("div", { class: "scroll", role: "group", tabindex: "0", "aria-label": visible(table.title) }, make("table", {}, make("thead", {}, make("tr", {}, head)), make("tbody", {}, body))));
}
