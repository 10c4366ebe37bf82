// Sets the theme before the first paint, so that the light theme does not start with a dark flash. src/lib/theme.ts has the
// same rule.
try {
  const stored = localStorage.getItem("luner.theme");
  const light = stored === "light" || (stored === "system" && matchMedia("(prefers-color-scheme: light)").matches);
  document.documentElement.dataset.theme = light ? "light" : "dark";
} catch {
  // Without storage the theme is dark.
}
