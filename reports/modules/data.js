// The page's main block: columns by layer position, text by its index in the string table (reports/README.md).

/** Gives the main block convenient readers. Layers are known by their position. */
export function readData(raw) {
  const { rows, strings } = raw;
  const count = rows.key.length;
  const positions = new Map(rows.key.map((index, position) => [strings[index], position]));
  const text = (index) => (index === null || index === undefined ? null : strings[index]);
  const readers = raw.inputs.map(() => []);
  raw.inputs.forEach((inputs, position) => inputs.forEach((input) => readers[input].push(position)));
  const texts = (name, fallback) => (rows[name] ? rows[name].map(text) : Array(count).fill(fallback));
  const values = (name, fallback) => rows[name] ?? Array(count).fill(fallback);
  const scores = {};
  for (const [name, columns] of Object.entries(raw.scores)) {
    scores[name] = { ...columns, status: columns.status.map(text), reason: (columns.reason ?? []).map(text) };
  }
  return {
    raw,
    count,
    positions,
    readers,
    inputs: raw.inputs,
    comparisons: raw.comparisons.filter((comparison) => comparison.name in raw.scores),
    judged: raw.judgement.comparison,
    threshold: raw.judgement.threshold,
    key: texts("key"),
    layer: texts("layer"),
    name: texts("name"),
    type: texts("type"),
    side: texts("side"),
    partner: texts("partner", null),
    status: texts("status"),
    reason: texts("reason", ""),
    verdict: texts("verdict", "not judged"),
    cause: texts("cause", null),
    causeReason: texts("cause_reason", ""),
    quantizationReason: texts("quantization_reason", ""),
    quantized: values("quantized", false),
    isOutput: values("is_output", false),
    shape: values("shape", []),
    elements: values("elements", 0),
    multiplyAdds: values("multiply_adds", null),
    sourceLine: values("source_line", null),
    notes: rows.notes ? rows.notes.map((list) => list.map(text)) : Array(count).fill([]),
    scores,
    text,
    isolation: raw.isolation,
    tunedIsolation: raw.tuned_isolation,
  };
}

/** One score of one layer, or null. */
export function score(data, comparison, field, position) {
  return data.scores[comparison]?.[field]?.[position] ?? null;
}

/** Whether a layer has scores in a comparison. */
export function hasScores(data, comparison, position) {
  const columns = data.scores[comparison];
  return Boolean(columns) && columns.status[position] !== null;
}

/** Kinds of comparison that run a lane from its own inputs and rank layers; the others look at one layer alone. */
export const RANKING = ["quantization", "drift", "total", "simulation", "reference"];

/** The comparisons that rank layers, the judged one first. */
export function ranking(data) {
  const ranked = data.comparisons.filter((comparison) => RANKING.includes(comparison.kind));
  return [...ranked.filter((c) => c.name === data.judged), ...ranked.filter((c) => c.name !== data.judged)];
}

/** The shares that explain the judged comparison: the tuned network's where that is judged. */
export function shares(data, position) {
  const judged = data.comparisons.find((comparison) => comparison.name === data.judged);
  const tuned = judged?.lane.startsWith("tuned") && data.tunedIsolation;
  const columns = tuned ? data.tunedIsolation : data.isolation;
  const share = columns?.share_data[position] ?? null;
  if (share === null) return null;
  return { data: share, weight: columns.share_weight[position], interaction: columns.interaction[position] };
}

/** Inflates gzip in base64 to a byte array's Response. */
export function inflate(base64) {
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index += 1) bytes[index] = binary.charCodeAt(index);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
}

const chunks = new Map();

/** Evidence of one layer; its chunk is inflated when first asked for. */
export async function evidence(data, position) {
  // The side block stands last in the page and may still be on its way.
  if (document.readyState === "loading") await new Promise((done) => addEventListener("DOMContentLoaded", done, { once: true }));
  const chunk = data.raw.chunk_of[position];
  if (!chunks.has(chunk)) {
    const block = document.getElementById(`details-${chunk}`);
    chunks.set(chunk, block ? inflate(block.textContent).json() : Promise.resolve({}));
  }
  return (await chunks.get(chunk))[position] ?? {};
}
