// A table of layers: sort, filter, search, choice of columns, keyboard, copy as CSV. Its state stands in the address.

import { fill, make } from "./dom.js";
import { afterCharts } from "./charts.js";
import { csvCell } from "./text.js";

const FIRST_ROWS = 80;
const ROWS_A_FRAME = 500;

/** Positions in the order of a sort expression, `-both.cosine` for descending; empty values always last. */
export function sorted(positions, column, descending) {
  const key = column.order ?? column.value;
  const keyed = positions.map((position) => [key(position), position]);
  keyed.sort(([a, p], [b, q]) => {
    const missing = (a === null || a === "") - (b === null || b === "");
    if (missing) return missing;
    const order = typeof a === "number" && typeof b === "number" ? a - b : String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0;
    return (descending ? -order : order) || p - q;
  });
  return keyed.map(([, position]) => position);
}

/** Whether a layer passes the filters of a state. */
export function passes(data, position, state, columns) {
  if (state.verdict && data.verdict[position] !== state.verdict) return false;
  if (state.type && data.type[position] !== state.type) return false;
  if (state.q) {
    const wanted = state.q.toLowerCase();
    const places = [data.key[position], data.type[position], data.cause[position] ?? "", data.status[position], data.reason[position]];
    if (!places.some((place) => place.toLowerCase().includes(wanted))) return false;
  }
  if (state.by && (state.min || state.max)) {
    const value = columns.find((column) => column.id === state.by)?.value(position) ?? null;
    if (value === null) return false;
    if (state.min && value < Number(state.min)) return false;
    if (state.max && value > Number(state.max)) return false;
  }
  return true;
}

/** Columns that a state shows, else those that are shown by default. */
export function chosenColumns(columns, state) {
  const wanted = state.cols ? state.cols.split(",") : null;
  const chosen = columns.filter((column) => (wanted ? wanted.includes(column.id) : column.shown));
  return chosen.length ? chosen : columns.filter((column) => column.shown);
}

/** Rows as comma-separated values, the columns that are shown. */
export function csvText(positions, columns) {
  const lines = [columns.map((column) => csvCell(column.title)).join(",")];
  for (const position of positions) lines.push(columns.map((column) => csvCell(column.value(position))).join(","));
  return `${lines.join("\n")}\n`;
}

/**
 * Makes a table.
 * @param {object} options `data`, `columns`, `place` (element), `label`, `store`, `prefix` of the state's names, `sort` to
 *   begin with, `keep` (position to boolean) to leave rows out, `count` (element for the number of rows).
 */
export function createTable(options) {
  const { data, columns, place, store, prefix = "", keep = () => true } = options;
  const cache = new Map();
  let shown = [];
  let order = [];
  let turn = 0;
  let waited = false;
  const body = make("tbody");
  const head = make("tr");
  const table = make("table", { class: "grid-table", role: "grid", "aria-label": options.label }, make("thead", {}, head), body);
  fill(place, table);

  const own = (state) => {
    const names = ["sort", "q", "verdict", "type", "by", "min", "max", "cols"];
    return Object.fromEntries(names.map((name) => [name, state[prefix + name] ?? ""]));
  };
  const set = (changes, how) => store.set(Object.fromEntries(Object.entries(changes).map(([k, v]) => [prefix + k, v])), how);

  const row = (position) => {
    let element = cache.get(position);
    if (!element) {
      element = make("tr", { "data-position": position, tabindex: "-1" });
      for (const column of shown) {
        element.append(make("td", { class: column.number ? "number" : null }, column.node(position)));
      }
      cache.set(position, element);
    }
    element.setAttribute("aria-selected", String(position === selected()));
    return element;
  };
  const selected = () => data.positions.get(store.get().layer) ?? -1;

  const draw = () => {
    turn += 1;
    const mine = turn;
    const first = order.slice(0, FIRST_ROWS).map(row);
    fill(body, first.length ? first : make("tr", {}, make("td", { class: "empty", colspan: shown.length }, "No layer passes these filters.")));
    if (first.length) first[0].tabIndex = 0;
    let next = FIRST_ROWS;
    const more = () => {
      if (mine !== turn || next >= order.length) return;
      body.append(...order.slice(next, next + ROWS_A_FRAME).map(row));
      next += ROWS_A_FRAME;
      requestAnimationFrame(more);
    };
    if (waited || next >= order.length) requestAnimationFrame(more);
    else afterCharts().then(more);
    waited = true;
    table.setAttribute("aria-rowcount", String(order.length + 1));
  };

  const header = (state) => {
    const [id, descending] = sortOf(state, options.sort);
    fill(
      head,
      shown.map((column) => {
        const active = column.id === id;
        const direction = active ? (descending ? "descending" : "ascending") : null;
        const press = () => set({ sort: active && !descending ? `-${column.id}` : column.id });
        const button = make("button", { type: "button", onclick: press, title: column.help }, column.title);
        return make("th", { scope: "col", "aria-sort": direction, class: column.number ? "number" : null }, button);
      }),
    );
  };

  const update = (state) => {
    const mine = own(state);
    const wanted = chosenColumns(columns, mine);
    if (wanted.map((c) => c.id).join() !== shown.map((c) => c.id).join()) cache.clear();
    shown = wanted;
    header(mine);
    const [id, descending] = sortOf(mine, options.sort);
    const all = data.key.map((_, position) => position).filter((p) => keep(p) && passes(data, p, mine, columns));
    order = sorted(all, columns.find((column) => column.id === id) ?? columns[0], descending);
    draw();
    if (options.count) options.count.textContent = countText(order.length, data, keep);
  };

  const focusRow = (index) => {
    const element = row(order[Math.max(0, Math.min(index, order.length - 1))]);
    if (!element.isConnected) return;
    element.tabIndex = 0;
    element.focus();
    element.scrollIntoView({ block: "nearest" });
  };
  body.addEventListener("click", (event) => {
    const element = event.target.closest("tr[data-position]");
    if (!element || String(getSelection()) || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    open(Number(element.dataset.position));
  });
  const open = (position) => store.set({ layer: data.key[position].toWellFormed(), view: "layer" });
  body.addEventListener("keydown", (event) => {
    const element = event.target.closest("tr[data-position]");
    if (!element) return;
    const at = order.indexOf(Number(element.dataset.position));
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + 12, PageUp: at - 12, Home: 0, End: order.length - 1 };
    if (event.key in steps) focusRow(steps[event.key]);
    else if (event.key === "Enter") open(order[at]);
    else return;
    event.preventDefault();
  });
  return {
    update,
    set,
    own,
    order: () => order,
    shown: () => shown,
    csv: () => csvText(order, shown),
    focusFirst: () => focusRow(0),
    /** Shows which row is selected, and brings it into view inside the table only. */
    select: (position) => {
      for (const element of body.querySelectorAll('[aria-selected="true"]')) element.setAttribute("aria-selected", "false");
      const element = cache.get(position);
      if (!element?.isConnected) return;
      element.setAttribute("aria-selected", "true");
      const box = place.getBoundingClientRect();
      const at = element.getBoundingClientRect();
      if (at.top < box.top + 34 || at.bottom > box.bottom) place.scrollTop += at.top - box.top - box.height / 2;
    },
  };
}

/** Column and direction of a sort expression. */
export function sortOf(state, otherwise) {
  const text = state.sort || otherwise;
  return text.startsWith("-") ? [text.slice(1), true] : [text, false];
}

function countText(count, data, keep) {
  const all = data.key.filter((_, position) => keep(position)).length;
  return count === all ? `${all} layers` : `${count} of ${all} layers`;
}
