// Columns of the layer table: how a cell is sorted, shown and copied.

import { make } from "./dom.js";
import { RANKING, hasScores, ranking, score, shares } from "./data.js";
import { cosineText, numberText, percentText, shortened, sqnrText } from "./text.js";

/** A sign, a word and a colour for a verdict. */
export function verdictChip(verdict) {
  const kind = verdict === "not judged" ? "listed" : verdict;
  return make("span", { class: `chip ${kind}` }, verdict);
}

/** The bar of what data, weights and interaction contribute. */
export function shareBar(parts) {
  if (!parts) return make("span", { class: "muted" }, "–");
  const total = Math.abs(parts.data) + Math.abs(parts.weight) + Math.abs(parts.interaction) || 1;
  const label = `data ${percentText(parts.data)}, weights ${percentText(parts.weight)}, interaction ${percentText(parts.interaction)}`;
  const bar = make("span", { class: "shares", role: "img", "aria-label": label, title: label });
  for (const name of ["data", "weight", "interaction"]) {
    bar.append(make("i", { class: name, style: { width: `${(100 * Math.abs(parts[name])) / total}%` } }));
  }
  return bar;
}

/** A link to a layer's page. */
export function layerLink(data, position, width = 80) {
  const address = `#layer=${encodeURIComponent(data.key[position].toWellFormed())}`;
  return make("a", { class: "layer", href: address, "data-layer": position }, make("bdi", {}, shortened(data.key[position], width)));
}

const VERDICT_ORDER = { flagged: 0, watch: 1, good: 2, "not judged": 3 };

/** What every table of layers can show. */
export function layerColumns(data) {
  const text = (id, title, values, options = {}) => ({
    id,
    title,
    value: (position) => values[position],
    node: (position) => (values[position] === null ? "" : shortened(String(values[position]), 80)),
    ...options,
  });
  const columns = [
    { id: "index", title: "#", number: true, value: (p) => p + 1, node: (p) => String(p + 1), shown: true },
    {
      id: "verdict",
      title: "verdict",
      value: (p) => data.verdict[p],
      order: (p) => VERDICT_ORDER[data.verdict[p]],
      node: (p) => verdictChip(data.verdict[p]),
      shown: true,
    },
    { id: "layer", title: "layer", value: (p) => data.key[p], node: (p) => layerLink(data, p, 56), shown: true },
    text("type", "type", data.type, { shown: true }),
  ];
  const ranked = ranking(data);
  for (const comparison of [...ranked, ...data.comparisons.filter((c) => !ranked.includes(c))]) {
    columns.push(...scoreColumns(data, comparison, comparison.name === data.judged));
  }
  columns.push(
    {
      id: "shares",
      title: "data | weights",
      value: (p) => shares(data, p)?.data ?? null,
      node: (p) => shareBar(shares(data, p)),
      shown: Boolean(data.isolation),
    },
    text("cause", "cause", data.cause, { shown: true }),
    text("status", "status", data.status),
    text("reason", "reason", data.reason.map((reason, p) => reason || data.causeReason[p]), { shown: data.count < 40 }),
    text("shape", "shape", data.shape.map((shape) => shape.join("×"))),
    { id: "elements", title: "elements", number: true, value: (p) => data.elements[p], node: (p) => numberText(data.elements[p]) },
    { id: "multiply_adds", title: "multiply-adds", number: true, value: (p) => data.multiplyAdds[p], node: (p) => numberText(data.multiplyAdds[p]) },
    text("quantized", "quantized", data.quantized.map((quantized) => (quantized ? "yes" : "no"))),
    text("output", "output", data.isOutput.map((output) => (output ? "yes" : "no"))),
  );
  if (data.raw.baseline) columns.push(...baselineColumns(data));
  return columns;
}

const SHORT = { cosine: "cosine", sqnr_db: "dB", norm_ratio: "norm ratio" };

function scoreColumns(data, comparison, judged) {
  const { name } = comparison;
  const first = data.raw.models > 1 && ["data", "weight", "both"].includes(name);
  const ranks = RANKING.includes(comparison.kind);
  const shown = (field) => (judged ? field !== "norm_ratio" : field === "sqnr_db" && (ranks ? !first : name === data.raw.local));
  const column = (field) => ({
    id: `${name}.${field}`,
    title: `${name} ${SHORT[field]}`,
    help: comparison.title,
    number: true,
    value: (p) => score(data, name, field, p),
    node: (p) => scoreNode(data, name, field, p),
    shown: shown(field),
  });
  return ["cosine", "sqnr_db", "norm_ratio"].map(column);
}

function scoreNode(data, name, field, position) {
  const value = score(data, name, field, position);
  const status = score(data, name, "status", position);
  if (!hasScores(data, name, position)) return "–";
  if (field === "sqnr_db") return sqnrText(value, status);
  if (field !== "cosine") return numberText(value);
  const special = status !== "OK" && status !== "EXACT";
  return special ? make("span", { title: score(data, name, "reason", position) || status }, `${cosineText(value)} ${status}`) : cosineText(value);
}

function baselineColumns(data) {
  const { baseline } = data.raw;
  return [
    { id: "before", title: "before dB", number: true, value: (p) => baseline.sqnr_db[p], node: (p) => sqnrText(baseline.sqnr_db[p]) },
    {
      id: "change",
      title: "change dB",
      number: true,
      value: (p) => baseline.change_db[p],
      node: (p) => changeNode(baseline.change_db[p]),
      shown: true,
    },
    { id: "verdict_before", title: "verdict before", value: (p) => baseline.verdict[p], node: (p) => baseline.verdict[p] ?? "new" },
  ];
}

/** A change in dB with its direction in sign, word and colour. */
export function changeNode(change) {
  if (change === null) return "–";
  if (Math.abs(change) < 0.05) return "0.0";
  const kind = change > 0 ? "better" : "worse";
  return make("span", { class: Math.abs(change) < 0.5 ? "muted" : kind }, `${change > 0 ? "▲ +" : "▼ −"}${Math.abs(change).toFixed(1)}`);
}
