// The controls above a table of layers.

import { fill, make } from "./dom.js";
import { shortened } from "./text.js";
import { chosenColumns } from "./table.js";

/** A choice with a label. */
export function choice(label, options, value, pick) {
  const select = make("select", { "aria-label": label, onchange: () => pick(select.value) });
  for (const [key, title] of options) select.append(make("option", { value: key }, title));
  select.value = value;
  return make("label", {}, `${label} `, select);
}

/** Makes the controls of a table and keeps them in step with its state. */
export function createToolbar(place, table, data, columns, store) {
  const types = [...new Set(data.type)].sort();
  const numbers = columns.filter((column) => column.number && column.id !== "index");
  const search = make("input", {
    type: "search",
    placeholder: "Search name, type, cause, status",
    "aria-label": "Search layers",
    oninput: () => table.set({ q: search.value }, { replace: true }),
    onkeydown: (event) => {
      if (event.key === "Escape") search.blur();
      if (event.key === "ArrowDown") table.focusFirst();
    },
  });
  const limit = (name, title) => {
    const input = make("input", { type: "number", step: "any", "aria-label": title, placeholder: name, oninput: () => table.set({ [name]: input.value }, { replace: true }) });
    return input;
  };
  const least = limit("min", "Smallest value");
  const most = limit("max", "Largest value");
  const dynamic = make("span", { class: "toolbar", style: { margin: "0" } });
  const copy = make("button", { type: "button" }, "Copy as CSV");
  copy.addEventListener("click", async () => {
    copy.textContent = (await copyText(table.csv())) ? "Copied" : "Copying is not allowed here";
    setTimeout(() => (copy.textContent = "Copy as CSV"), 1600);
  });
  fill(place, search, dynamic, copy);

  const draw = (state) => {
    const own = table.own(state);
    if (document.activeElement !== search) search.value = own.q;
    if (document.activeElement !== least) least.value = own.min;
    if (document.activeElement !== most) most.value = own.max;
    if (dynamic.contains(document.activeElement) && document.activeElement.matches("input")) return;
    const verdicts = [["", "all"], ...["flagged", "watch", "good", "not judged"].map((verdict) => [verdict, verdict])];
    const open = dynamic.querySelector("details")?.open ?? false;
    const focused = document.activeElement?.dataset?.column;
    fill(
      dynamic,
      choice("Verdict", verdicts, own.verdict, (verdict) => table.set({ verdict })),
      choice("Type", [["", "all"], ...types.map((type) => [type, shortened(type, 24)])], own.type, (type) => table.set({ type })),
      choice("Range", [["", "none"], ...numbers.map((column) => [column.id, column.title])], own.by, (by) => table.set({ by, min: "", max: "" })),
      own.by ? [least, most] : [],
      columnMenu(table, columns, own, open),
      hasFilters(own) ? make("button", { type: "button", class: "quiet", onclick: () => table.set({ q: "", verdict: "", type: "", by: "", min: "", max: "" }) }, "Clear filters") : null,
    );
    if (focused) dynamic.querySelector(`[data-column="${CSS.escape(focused)}"]`)?.focus();
  };
  store.listen(draw);
  return { focusSearch: () => search.focus() };
}

function hasFilters(own) {
  return Boolean(own.q || own.verdict || own.type || own.by);
}

function columnMenu(table, columns, own, open) {
  const shown = chosenColumns(columns, own).map((column) => column.id);
  const boxes = columns.map((column) => {
    const toggle = () => {
      const wanted = columns.map((c) => c.id).filter((id) => (id === column.id ? !shown.includes(id) : shown.includes(id)));
      table.set({ cols: wanted.join(",") });
    };
    const box = make("input", { type: "checkbox", checked: shown.includes(column.id), onchange: toggle, "data-column": column.id });
    return make("label", {}, box, column.title);
  });
  const reset = make("button", { type: "button", class: "quiet", onclick: () => table.set({ cols: "" }) }, "Default columns");
  return make("details", { class: "menu", open }, make("summary", {}, "Columns"), make("div", {}, boxes, reset));
}

/** Copies text; on pages opened as files the old way may be the only one. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = make("textarea", { style: { position: "fixed", opacity: "0" }, "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
