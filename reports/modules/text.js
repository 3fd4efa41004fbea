// Untrusted text and numbers, made fit for people; the same rules as gfpq_inspect/report/text.py.

const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;
const JOINER = "\u200d";

/** Writes control, direction-changing and lone surrogate characters as escapes. */
export function visible(text) {
  return text.replace(HIDDEN, (character) => {
    if (character === JOINER) return character;
    const code = character.codePointAt(0);
    if (code < 0x100) return { 9: "\\t", 10: "\\n", 13: "\\r" }[code] ?? `\\x${code.toString(16).padStart(2, "0")}`;
    if (code < 0x10000) return `\\u${code.toString(16).padStart(4, "0")}`;
    return `\\U${code.toString(16).padStart(8, "0")}`;
  });
}

/** Cuts visible text in the middle: layer names differ at both ends. */
export function shortened(text, width) {
  const shown = [...visible(text.slice(0, 4 * width).length < text.length ? text.slice(0, 2 * width) + text.slice(-2 * width) : text)];
  if (shown.length <= width) return shown.join("");
  const tail = Math.floor((width - 1) / 2);
  return shown.slice(0, width - 1 - tail).join("") + "…" + (tail ? shown.slice(-tail).join("") : "");
}

/** Untrusted text for a Plotly label, which would read tags and entities. */
export function plotlyText(text) {
  return shortened(text, 60).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

export function cosineText(cosine) {
  if (cosine === null || cosine === undefined) return "–";
  const distance = Math.abs(1 - cosine);
  const digits = distance > 1e-4 ? 5 : distance > 1e-5 ? 6 : 8;
  const text = cosine.toFixed(digits);
  return text.startsWith("1.") && cosine < 1 ? `0.${"9".repeat(digits)}` : text;
}

export function sqnrText(sqnr, status) {
  if (status === "EXACT") return "exact";
  if (sqnr === null || sqnr === undefined) return "–";
  return sqnr > 200 ? ">200" : sqnr.toFixed(1);
}

export function percentText(share) {
  if (share === null || share === undefined) return "–";
  const size = Math.abs(share);
  if (share !== 0 && size < 0.001) return `${Number((share * 100).toPrecision(1))} %`;
  return size < 0.1 ? `${(share * 100).toFixed(1)} %` : `${(share * 100).toFixed(0)} %`;
}

/** A number with five significant digits, whole numbers with thin spaces. */
export function numberText(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return visible(String(value));
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-4 || size >= 1e7) ? value.toExponential(3) : String(Number(value.toPrecision(5)));
}

/** One cell of a CSV file, harmless in a spreadsheet. */
export function csvCell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = visible(String(value));
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
}
