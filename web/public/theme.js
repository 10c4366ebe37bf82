// Before the first paint, so that no one who chose light sees a dark flash. The same rule as src/lib/theme.ts.
try {
  const kept = localStorage.getItem("luner.theme");
  const light = kept === "light" || (kept === "system" && matchMedia("(prefers-color-scheme: light)").matches);
  document.documentElement.dataset.theme = light ? "light" : "dark";
} catch {
  // No storage: dark.
}
