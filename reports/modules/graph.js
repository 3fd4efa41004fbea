// The network as a graph. Positions were computed beforehand; here they become pixels, blocks fold, values become colours.

import { byId, fill, make } from "./dom.js";
import { ranking, score } from "./data.js";
import { cosineText, shortened, sqnrText, visible } from "./text.js";
import { choice } from "./toolbar.js";
import { layerSummary } from "./layer.js";

const WIDTH = 150;
const HEIGHT = 24;
const COLUMN_STEP = 84;
const RANK_STEP = 46;
const FOLD_ABOVE = 150;
const NAME_LENGTH = 20;

/** Parts of the drawing: one for each layer, or one for a whole block that is folded. */
export function graphParts(data, folded) {
  const { graph } = data.raw;
  const part = Array(data.count).fill(null);
  const parts = [];
  const blocks = new Map();
  const owner = (position) => {
    const into = graph.folded_into?.[position] ?? -1;
    return into >= 0 && into !== position ? into : position;
  };
  for (let position = 0; position < data.count; position += 1) {
    const group = graph.group[owner(position)];
    const closed = group >= 0 && folded.has(data.text(group));
    if (closed && blocks.has(group)) part[position] = blocks.get(group);
    else if (!closed && owner(position) !== position) continue;
    else {
      part[position] = { members: [], group: group >= 0 ? data.text(group) : "", closed, id: parts.length };
      parts.push(part[position]);
      if (closed) blocks.set(group, part[position]);
    }
    part[position].members.push(position);
  }
  for (let position = 0; position < data.count; position += 1) {
    if (part[position]) continue;
    part[position] = part[owner(position)];
    part[position].members.push(position);
  }
  const used = [...new Set(parts.map((p) => graph.rank[p.members[0]]))].sort((a, b) => a - b);
  const row = new Map(used.map((rank, index) => [rank, index]));
  for (const p of parts) {
    const heads = p.closed ? p.members : [p.members[0]];
    p.x = (heads.reduce((sum, m) => sum + graph.column[m], 0) / heads.length) * COLUMN_STEP;
    p.y = row.get(graph.rank[p.members[0]]) * RANK_STEP;
  }
  separate(parts);
  const edges = new Map();
  for (const [from, to] of graph.edges) {
    const [a, b] = [part[from], part[to]];
    if (a === b) continue;
    const id = `${a.id}-${b.id}`;
    const quantized = data.quantized[to] || edges.get(id)?.quantized;
    edges.set(id, { a, b, quantized, from, to });
  }
  return { parts, edges: [...edges.values()], part };
}

/** Moves boxes of one row apart where folding put them on each other. */
function separate(parts) {
  for (const row of groupBy(parts, (part) => part.y).values()) {
    row.sort((a, b) => a.x - b.x || a.id - b.id);
    for (let i = 1; i < row.length; i += 1) row[i].x = Math.max(row[i].x, row[i - 1].x + WIDTH + 14);
  }
}

function groupBy(items, key) {
  const found = new Map();
  for (const item of items) {
    const name = key(item);
    if (found.has(name)) found.get(name).push(item);
    else found.set(name, [item]);
  }
  return found;
}

/** The line of an edge: straight to the next row, curved to another column, bowed around boxes that stand in its way. */
export function edgePath(a, b, rows) {
  const [x1, y1, x2, y2] = [a.x + WIDTH / 2, a.y + HEIGHT, b.x + WIDTH / 2, b.y];
  const span = (b.y - a.y) / RANK_STEP;
  let blocked = false;
  for (let y = a.y + RANK_STEP; y < b.y && !blocked; y += RANK_STEP) {
    const x = a.x + ((b.x - a.x) * (y - a.y)) / (b.y - a.y);
    blocked = (rows.get(y) ?? []).some((part) => Math.abs(part.x - x) < WIDTH / 2 + 6);
  }
  if (blocked) {
    // Out between the rows, down beside the boxes, and in again.
    const side = Math.max(x1, x2) + WIDTH / 2 + 12 + Math.min(40, span * 2);
    return `M${x1} ${y1}C${x1} ${y1 + 16} ${side} ${y1 + 2} ${side} ${y1 + 26}V${y2 - 26}C${side} ${y2 - 2} ${x2} ${y2 - 16} ${x2} ${y2}`;
  }
  if (x1 === x2 && span <= 1) return `M${x1} ${y1}V${y2}`;
  const bend = Math.max(12, Math.abs(y2 - y1) * 0.45);
  return `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}`;
}

/** What tells a layer from its neighbours: its name without the block's when the block is open. */
export function nodeLabel(key, group, width) {
  const rest = group && key.startsWith(group) ? key.slice(group.length) : "";
  return rest && visible(key).length > width ? shortened(`…${rest}`, width) : shortened(key, width);
}

/** Ways to colour the graph: by verdict, or by a score of any lane. */
export function colourings(data) {
  const lanes = ranking(data).flatMap((comparison) => [
    [`${comparison.name}.sqnr_db`, `${comparison.name} dB`],
    [`${comparison.name}.cosine`, `${comparison.name} cosine`],
  ]);
  const local = data.comparisons.filter((c) => ["local", "fresh"].includes(c.kind)).map((c) => [`${c.name}.sqnr_db`, `${c.name} dB`]);
  return [...lanes, ...local, ["verdict", "verdict"]];
}

/** Makes the graph's view. */
export function createGraph(data, store) {
  const canvas = byId("graph-canvas");
  const groups = [...new Set(data.raw.graph.group.filter((g) => g >= 0))].map(data.text);
  const metrics = colourings(data);
  let view = null;
  let drawnFor = "";
  let drawing = null;

  const foldedOf = (state) => {
    if (state.fold === "none") return new Set();
    if (state.fold === "all" || (!state.fold && data.count > FOLD_ABOVE)) return new Set(groups);
    if (!state.fold) return new Set();
    const open = state.fold.startsWith("open:") ? new Set(state.fold.slice(5).split("|")) : null;
    if (open) return new Set(groups.filter((group) => !open.has(group)));
    return new Set(state.fold.split("|"));
  };
  const setFolded = (folded) => {
    const open = groups.filter((group) => !folded.has(group));
    const fold = !folded.size ? "none" : !open.length ? "all" : open.length < folded.size ? `open:${open.join("|")}` : [...folded].join("|");
    store.set({ fold, view: "graph" }, { replace: true });
  };
  const toggle = (group) => {
    const folded = foldedOf(store.get());
    if (!folded.delete(group)) folded.add(group);
    setFolded(folded);
  };

  const update = (state) => {
    if (state.view !== "graph") return;
    const folded = foldedOf(state);
    const metric = metrics.some(([id]) => id === state.colour) ? state.colour : metrics[0][0];
    drawTools(folded, metric);
    const wanted = `${[...folded].join("|")} ${document.documentElement.className}`;
    if (wanted !== drawnFor) {
      drawing = draw(folded);
      drawnFor = wanted;
    }
    paint(metric);
    mark(state);
  };

  const drawTools = (folded, metric) => {
    const tools = byId("graph-tools");
    if (tools.contains(document.activeElement) && document.activeElement.matches("select")) document.activeElement.blur();
    fill(
      tools,
      choice("Colour", metrics, metric, (colour) => store.set({ colour }, { replace: true })),
      groups.length ? make("button", { type: "button", onclick: () => setFolded(folded.size ? new Set() : new Set(groups)) }, folded.size ? "Unfold all" : "Fold blocks") : null,
      make("button", { type: "button", onclick: () => zoom(1 / 1.3), "aria-label": "Zoom in" }, "+"),
      make("button", { type: "button", onclick: () => zoom(1.3), "aria-label": "Zoom out" }, "−"),
      make("button", { type: "button", onclick: () => fit() }, "Fit"),
    );
  };

  const draw = (folded) => {
    const shape = graphParts(data, folded);
    const svg = make("svg:svg", { role: "group", "aria-label": "Network graph; arrow keys follow the edges, Enter selects", tabindex: "0" });
    const edges = make("svg:g");
    const rows = groupBy(shape.parts, (part) => part.y);
    for (const edge of shape.edges) edges.append(...edgeNodes(edge, rows));
    const nodes = make("svg:g");
    for (const part of shape.parts) nodes.append(partNode(part));
    svg.append(edges, nodes);
    fill(canvas, svg);
    const xs = shape.parts.map((p) => p.x);
    const ys = shape.parts.map((p) => p.y);
    const box = { x: Math.min(...xs) - 30, y: Math.min(...ys) - 24, w: Math.max(...xs) + WIDTH + 60 - Math.min(...xs), h: Math.max(...ys) + HEIGHT + 48 - Math.min(...ys) };
    listen(svg, shape);
    drawing = { ...shape, svg, box };
    start();
    return drawing;
  };

  const edgeNodes = ({ a, b, quantized, to }, rows) => {
    const [x2, y2] = [b.x + WIDTH / 2, b.y];
    const line = make("svg:path", { d: edgePath(a, b, rows), class: quantized ? "edge quantized" : "edge" });
    if (!quantized) return [line];
    const point = make("svg:path", { d: `M${x2} ${y2 - 13}l5 5l-5 5l-5 -5z`, class: "point" });
    point.append(make("svg:title", {}, `quantized to ${visible(data.raw.form)} before ${shortened(data.key[to], 60)}`));
    return [line, point];
  };

  const partNode = (part) => {
    const first = part.members[0];
    const count = part.members.length;
    const name = part.closed ? `▸ ${shortened(part.group, NAME_LENGTH - 6)} (${count})` : nodeLabel(data.key[first], part.group, count > 1 ? NAME_LENGTH - 4 : NAME_LENGTH) + (count > 1 ? ` +${count - 1}` : "");
    const verdict = worstVerdict(part);
    const kind = verdict === "not judged" ? "listed" : verdict;
    part.node = make(
      "svg:g",
      { class: `node ${kind}`, transform: `translate(${part.x} ${part.y})`, tabindex: "-1", role: "button", "data-part": part.id },
      make("svg:title", {}, part.closed ? `${shortened(part.group, 200)}: ${count} layers` : `${shortened(data.key[first], 200)} (${shortened(data.type[first], 40)})`),
      make("svg:rect", { width: WIDTH, height: HEIGHT, rx: 5 }),
      make("svg:text", { x: 8, y: HEIGHT / 2 + 0.5 }, name),
    );
    return part.node;
  };
  const worstVerdict = (part) => ["flagged", "watch", "good"].find((verdict) => part.members.some((m) => data.verdict[m] === verdict)) ?? "not judged";

  const valueOf = (part, metric) => {
    const [comparison, field] = [metric.slice(0, metric.lastIndexOf(".")), metric.slice(metric.lastIndexOf(".") + 1)];
    const values = part.members.map((m) => score(data, comparison, field, m)).filter((value) => value !== null);
    return values.length ? Math.min(...values) : null;
  };

  const paint = (metric) => {
    const dark = document.documentElement.classList.contains("dark");
    const scale = metric === "verdict" ? null : valueScale(drawing.parts.map((part) => valueOf(part, metric)));
    for (const part of drawing.parts) {
      const value = scale ? valueOf(part, metric) : null;
      const fillColour = scale ? scale.colour(value, data.raw.cividis, dark) : verdictColour(worstVerdict(part), dark);
      part.node.querySelector("rect").style.fill = fillColour;
      part.node.querySelector("text").style.fill = readable(fillColour);
      const words = value === null ? worstVerdict(part) : metric.endsWith("cosine") ? `cosine ${cosineText(value)}` : `${sqnrText(value)} dB`;
      part.node.setAttribute("aria-label", `${part.node.querySelector("title").textContent}, ${words}, ${worstVerdict(part)}`);
    }
    legend(metric, scale, dark);
  };

  const legend = (metric, scale, dark) => {
    const place = canvas.querySelector(".scale") ?? canvas.appendChild(make("div", { class: "scale", style: { position: "absolute", left: "12px", bottom: "10px", background: "var(--panel)", padding: "2px 6px", borderRadius: "4px" } }));
    if (!scale) return fill(place, ["flagged", "watch", "good", "not judged"].map((verdict) => make("span", {}, make("i", { style: { background: verdictColour(verdict, dark), width: "14px", display: "inline-block", marginRight: "4px" } }), verdict)));
    const show = (value) => (metric.endsWith("cosine") ? cosineText(value) : `${sqnrText(value)} dB`);
    return fill(place, show(scale.low), make("i", { style: { background: `linear-gradient(90deg, ${data.raw.cividis.join(",")})` } }), show(scale.high), make("span", {}, "◆ quantized here"));
  };

  const mark = (state) => {
    for (const node of canvas.querySelectorAll(".node.selected")) node.classList.remove("selected");
    const position = data.positions.get(state.layer) ?? -1;
    const part = position >= 0 ? drawing.part[position] : null;
    part?.node.classList.add("selected");
    const side = byId("graph-side");
    if (position < 0) fill(side, make("p", { class: "muted" }, "Click a layer to see its scores, a block to unfold it. Blue edges carry quantized data; the diamond is where it is quantized. Red frames are flagged."));
    else {
      const group = data.raw.graph.group[position];
      const fold = group >= 0 ? make("button", { type: "button", onclick: () => toggle(data.text(group)) }, `${part.closed ? "Unfold" : "Fold"} ${shortened(data.text(group), 24)}`) : null;
      fill(side, layerSummary(data, position, store), fold ? make("p", { style: { marginTop: "12px" } }, fold) : null);
    }
  };

  const start = () => {
    const position = data.positions.get(store.get().layer) ?? data.positions.get(data.raw.judgement.flagged[0]) ?? 0;
    const whole = drawing.box.h < 900 && drawing.box.w < 1400;
    if (whole) fit();
    else centre(drawing.part[position]);
  };
  const apply = () => drawing.svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
  const size = () => ({ w: canvas.clientWidth || 900, h: canvas.clientHeight || 600 });
  const fit = () => {
    const { w, h } = size();
    const factor = Math.max(drawing.box.w / w, drawing.box.h / h, 0.75);
    view = { x: drawing.box.x + drawing.box.w / 2 - (w * factor) / 2, y: drawing.box.y + drawing.box.h / 2 - (h * factor) / 2, w: w * factor, h: h * factor };
    apply();
  };
  const centre = (part) => {
    const { w, h } = size();
    const factor = view ? view.w / w : 1;
    view = { x: part.x + WIDTH / 2 - (w * factor) / 2, y: part.y - (h * factor) / 2, w: w * factor, h: h * factor };
    apply();
  };
  const zoom = (factor, at = null) => {
    const point = at ?? { x: view.x + view.w / 2, y: view.y + view.h / 2 };
    const bounded = Math.min(Math.max(view.w * factor, 120), Math.max(drawing.box.w, drawing.box.h) * 4 + 800) / view.w;
    view = { x: point.x - (point.x - view.x) * bounded, y: point.y - (point.y - view.y) * bounded, w: view.w * bounded, h: view.h * bounded };
    apply();
  };

  const listen = (svg, shape) => {
    let drag = null;
    let moved = false;
    const toGraph = (event) => {
      const box = svg.getBoundingClientRect();
      return { x: view.x + ((event.clientX - box.left) / box.width) * view.w, y: view.y + ((event.clientY - box.top) / box.height) * view.h };
    };
    svg.addEventListener("wheel", (event) => {
      event.preventDefault();
      zoom(Math.exp(Math.max(-80, Math.min(80, event.deltaY)) * 0.004), toGraph(event));
    }, { passive: false });
    svg.addEventListener("pointerdown", (event) => {
      drag = { x: event.clientX, y: event.clientY, view: { ...view } };
      moved = false;
    });
    svg.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const scale = view.w / (svg.clientWidth || 1);
      const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
      if (Math.abs(dx) + Math.abs(dy) > 4 && !moved) {
        moved = true;
        svg.setPointerCapture(event.pointerId);
      }
      if (!moved) return;
      view = { ...view, x: drag.view.x - dx * scale, y: drag.view.y - dy * scale };
      apply();
    });
    const drop = () => (drag = null);
    svg.addEventListener("pointerup", drop);
    svg.addEventListener("pointercancel", drop);
    const choose = (part) => {
      if (part.closed) toggle(part.group);
      else store.set({ layer: data.key[part.members[0]].toWellFormed(), view: "graph" });
    };
    svg.addEventListener("click", (event) => {
      const node = event.target.closest(".node");
      if (node && !moved) choose(shape.parts[Number(node.dataset.part)]);
    });
    svg.addEventListener("dblclick", (event) => {
      const part = shape.parts[Number(event.target.closest(".node")?.dataset.part)];
      if (part && !part.closed) store.set({ layer: data.key[part.members[0]].toWellFormed(), view: "layer" });
    });
    svg.addEventListener("keydown", (event) => {
      const current = shape.parts[Number(event.target.closest?.(".node")?.dataset.part)] ?? null;
      const next = !current && event.key.startsWith("Arrow") ? shape.parts[0] : neighbour(shape, current, event.key);
      if (event.key === "+" || event.key === "-") zoom(event.key === "+" ? 1 / 1.3 : 1.3);
      else if ((event.key === "Enter" || event.key === " ") && current) choose(current);
      else if (next) {
        next.node.focus({ preventScroll: true });
        centre(next);
      } else return;
      event.preventDefault();
    });
  };
  const neighbour = (shape, current, key) => {
    if (!current) return null;
    if (key === "ArrowDown") return shape.edges.find((edge) => edge.a === current)?.b ?? null;
    if (key === "ArrowUp") return shape.edges.find((edge) => edge.b === current)?.a ?? null;
    const row = shape.parts.filter((part) => part.y === current.y).sort((a, b) => a.x - b.x);
    if (key === "ArrowRight") return row[row.indexOf(current) + 1] ?? null;
    if (key === "ArrowLeft") return row[row.indexOf(current) - 1] ?? null;
    return null;
  };
  return { update, redraw: () => { drawnFor = ""; update(store.get()); } };
}

/** A scale from values to colours; a few extremes at either end do not stretch it. */
export function valueScale(values) {
  const numbers = values.filter((value) => value !== null).sort((a, b) => a - b);
  const at = (share) => numbers[Math.min(numbers.length - 1, Math.max(0, Math.round(share * (numbers.length - 1))))] ?? 0;
  const [low, high] = [at(0.02), at(0.98)];
  const colour = (value, palette, dark) => {
    if (value === null) return dark ? "#1d232b" : "#eef1f4";
    const place = high > low ? Math.min(1, Math.max(0, (value - low) / (high - low))) : 1;
    return palette[Math.round(place * (palette.length - 1))];
  };
  return { low, high, colour };
}

function verdictColour(verdict, dark) {
  const colours = { flagged: ["#b3261e", "#ff8a80"], watch: ["#f0c75e", "#e3b341"], good: ["#cfe8d5", "#12361d"], "not judged": ["#eef1f4", "#1d232b"] };
  return colours[verdict][dark ? 1 : 0];
}

/** Black or white, whichever is readable on a colour. */
export function readable(colour) {
  const channels = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255);
  const [r, g, b] = channels.map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#101418" : "#ffffff";
}
