import { equal, results, test } from "./harness.js";
import { cosineText, csvCell, numberText, percentText, plotlyText, shortened, sqnrText, visible } from "./text.js";
import { readHash, withView, writeHash } from "./state.js";
import { chosenColumns, csvText, passes, sortOf, sorted } from "./table.js";
import { readData, score, shares } from "./data.js";
import { edgePath, graphParts, nodeLabel, readable, valueScale } from "./graph.js";
import { resolved } from "./charts.js";
import { make } from "./dom.js";

test("hidden characters become escapes", () => {
  equal(visible("a\x1b\u202e\u2028\ud800\n\t"), "a\\x1b\\u202e\\u2028\\ud800\\n\\t");
  equal(visible("ñ 名前 😀 \u{e0001}"), "ñ 名前 😀 \\U000e0001");
  equal(visible("x\u200dy"), "x\u200dy");
});
test("names are cut in the middle", () => {
  equal(shortened("abcdefghij", 7), "abc…hij");
  equal(shortened("abc", 3), "abc");
  equal(shortened("n".repeat(5000), 9), "nnnn…nnnn");
  equal([...shortened("😀".repeat(100), 5)].length, 5);
});
test("labels of charts hold no markup", () => {
  equal(plotlyText('<a href="x">&lt;'), '&lt;a href="x"&gt;&amp;lt;');
});
test("cosines are never rounded up to one", () => {
  equal(cosineText(0.98123), "0.98123");
  equal(cosineText(0.9999999999), "0.99999999");
  equal(cosineText(1), "1.00000000");
  equal(cosineText(null), "–");
});
test("other numbers", () => {
  equal(sqnrText(38.04, "OK"), "38.0");
  equal(sqnrText(null, "EXACT"), "exact");
  equal(sqnrText(312, "OK"), ">200");
  equal(percentText(0.5), "50 %");
  equal(percentText(0.056), "5.6 %");
  equal(percentText(0.00004), "0.004 %");
  equal(numberText(1234567), "1\u202f234\u202f567");
  equal(numberText(0.000012345), "1.234e-5");
  equal(numberText(0.3178999), "0.3179");
});
test("CSV cells are harmless", () => {
  equal(csvCell('=HYPERLINK("x","y")'), '"\'=HYPERLINK(""x"",""y"")"');
  equal(csvCell(-3.5), "-3.5");
  equal(csvCell(null), "");
  equal(csvCell("a,b"), '"a,b"');
  equal(csvCell("a\nb"), "a\\nb");
});
test("addresses come back", () => {
  const state = { layer: "a&b=c#d/é 100%", view: "graph", sort: "-both.sqnr_db" };
  equal(readHash(writeHash(state)), { layer: state.layer, sort: state.sort, view: state.view });
  equal(readHash("#layer=%E0%A4%A&x"), {});
  equal(withView({ layer: "a" }).view, "layer");
  equal(withView({}).view, "overview");
  equal(writeHash({}), "#view=overview");
  equal(readHash(writeHash({ layer: "\ud800" })).layer, "\ufffd");
});

const raw = {
  strings: ["a", "b", "c/x", "Convolution", "both", "OK", "flagged", "good", "c", "data"],
  rows: { key: [0, 1, 2], layer: [0, 1, 2], name: [0, 1, 2], type: [3, 3, 3], side: [4, 4, 4], status: [5, 5, 5], verdict: [6, 7, 7], cause: [9, null, null], quantized: [false, true, true], shape: [[1], [1], [1]], elements: [1, 1, 1] },
  inputs: [[], [0], [1]],
  comparisons: [{ name: "both", lane: "both", reference: "float", kind: "quantization", title: "both" }],
  judgement: { comparison: "both", threshold: 0.98, flagged: ["a"] },
  scores: { both: { status: [5, 5, 5], sqnr_db: [10, null, 30], cosine: [0.9, 1, 0.999] } },
  isolation: { share_data: [0.9, null, 0.2], share_weight: [0.05, null, 0.7], interaction: [0.05, null, 0.1] },
  tuned_isolation: null,
  findings: [],
  graph: { rank: [0, 1, 2], column: [0, 0, 0], edges: [[0, 1], [1, 2]], group: [-1, 8, 8], folded_into: null },
  dark: { "#111111": "#eeeeee" },
  bits: 8,
};
const data = readData(raw);

test("columns are read by layer position", () => {
  equal(data.key, ["a", "b", "c/x"]);
  equal(data.positions.get("c/x"), 2);
  equal(data.readers, [[1], [2], []]);
  equal(score(data, "both", "sqnr_db", 0), 10);
  equal(score(data, "none", "sqnr_db", 0), null);
  equal(shares(data, 0), { data: 0.9, weight: 0.05, interaction: 0.05 });
  equal(shares(data, 1), null);
});
test("rows are sorted with empty values last, both ways, and stay in order where equal", () => {
  const column = { value: (p) => [10, null, 30, 10][p] };
  equal(sorted([0, 1, 2, 3], column, false), [0, 3, 2, 1]);
  equal(sorted([0, 1, 2, 3], column, true), [2, 0, 3, 1]);
  equal(sorted([1, 0], { value: (p) => ["x", "B"][p] }, false), [1, 0]);
  equal(sortOf({ sort: "-x" }, "y"), ["x", true]);
  equal(sortOf({ sort: "" }, "-y"), ["y", true]);
});
test("filters", () => {
  const columns = [{ id: "d", value: (p) => score(data, "both", "sqnr_db", p) }];
  const kept = (state) => [0, 1, 2].filter((p) => passes(data, p, state, columns));
  equal(kept({ q: "C/X" }), [2]);
  equal(kept({ verdict: "flagged" }), [0]);
  equal(kept({ by: "d", max: "20" }), [0]);
  equal(kept({ by: "d", min: "20" }), [2]);
  equal(kept({ by: "d" }), [0, 1, 2]);
  equal(kept({ q: "data" }), [0]);
});
test("chosen columns and their CSV", () => {
  const columns = [{ id: "a", title: "A", shown: true, value: (p) => p }, { id: "b", title: "B, b", value: () => "x" }];
  equal(chosenColumns(columns, {}).map((c) => c.id), ["a"]);
  equal(chosenColumns(columns, { cols: "b" }).map((c) => c.id), ["b"]);
  equal(chosenColumns(columns, { cols: "nothing" }).map((c) => c.id), ["a"]);
  equal(csvText([0, 1], columns), 'A,"B, b"\n0,x\n1,x\n');
});
test("blocks fold into one box with the edges of their members", () => {
  const open = graphParts(data, new Set());
  equal(open.parts.length, 3);
  equal(open.edges.map((e) => [e.a.id, e.b.id, e.quantized]), [[0, 1, true], [1, 2, true]]);
  const closed = graphParts(data, new Set(["c"]));
  equal(closed.parts.map((p) => p.members), [[0], [1, 2]]);
  equal(closed.edges.map((e) => [e.a.id, e.b.id]), [[0, 1]]);
  equal(closed.parts[1].y > closed.parts[0].y, true);
});
test("folded layers are drawn with the layer that holds them", () => {
  const folded = readData({ ...raw, graph: { ...raw.graph, group: [-1, -1, -1], folded_into: [-1, -1, 1] } });
  const shape = graphParts(folded, new Set());
  equal(shape.parts.map((p) => p.members), [[0], [1, 2]]);
  equal(shape.edges.length, 1);
});
test("edges go around boxes that stand in their way", () => {
  const at = (x, y) => ({ x, y });
  const rows = new Map([[0, [at(0, 0)]], [46, [at(0, 46)]], [92, [at(0, 92)]]]);
  equal(edgePath(at(0, 0), at(0, 46), rows), "M75 24V46");
  equal(Number(edgePath(at(0, 0), at(0, 92), rows).match(/C\S+ \S+ (\S+)/)[1]) > 150, true);
  equal(edgePath(at(0, 0), at(0, 92), new Map()).startsWith("M75 24C75"), true);
});
test("labels keep what tells layers apart", () => {
  equal(nodeLabel("stage5/block20/branch2b_scale", "stage5/block20", 20), "…/branch2b_scale");
  equal(nodeLabel("conv1", "conv1", 20), "conv1");
  equal(nodeLabel("a".repeat(30), "", 9), "aaaa…aaaa");
});
test("colours of values and of the text on them", () => {
  const scale = valueScale([0, 10, null]);
  equal(scale.colour(0, ["#000000", "#ffffff"]), "#000000");
  equal(scale.colour(10, ["#000000", "#ffffff"]), "#ffffff");
  equal(scale.colour(null, ["#000000"], false), "#eef1f4");
  equal(valueScale([]).colour(3, ["#000000"]), "#000000");
  equal(readable("#000000"), "#ffffff");
  equal(readable("#fee838"), "#101418");
});
test("figures get their columns, escaped names and dark colours", () => {
  const figure = { y: { $column: ["both", "sqnr_db"] }, text: { $column: ["both", "name"] }, line: { color: "#111111" }, x: [1, 2] };
  equal(resolved(figure, data, true), { y: [10, null, 30], text: ["a", "b", "c/x"], line: { color: "#eeeeee" }, x: [1, 2] });
  equal(resolved(figure, data, false).line.color, "#111111");
});
test("elements hold text as text", () => {
  const element = make("p", { title: "<b>", hidden: false, onclick: () => {} }, "<img src=x>", null, [["y"]]);
  equal(element.outerHTML, '<p title="&lt;b&gt;">&lt;img src=x&gt;y</p>');
});

globalThis.unitTestResults = results;
