// Runs in the head, before anything is painted: a stored choice of theme wins over the system's.
let stored = null;
try {
  stored = localStorage.getItem("gfpq-inspect-theme");
} catch {
  // Storage may be forbidden; the system's theme is used then.
}
const wantsDark = stored === "dark" || (stored !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
document.documentElement.classList.add("js");
document.documentElement.classList.toggle("dark", wantsDark);
