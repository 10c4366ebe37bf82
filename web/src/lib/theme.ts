// The theme: dark, light, or the system's. Stored in the browser; public/theme.js applies it before the first paint.
import { useSyncExternalStore } from "react";

export type Theme = "dark" | "light" | "system";
const KEY = "luner.theme";
const listeners = new Set<() => void>();

function theme(): Theme {
  try {
    const stored = localStorage.getItem(KEY);
    return stored === "light" || stored === "system" ? stored : "dark";
  } catch {
    return "dark";
  }
}

function apply() {
  const chosen = theme();
  const light = chosen === "light" || (chosen === "system" && matchMedia("(prefers-color-scheme: light)").matches);
  document.documentElement.dataset.theme = light ? "light" : "dark";
  for (const listener of listeners) listener();
}

export function chooseTheme(chosen: Theme) {
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // In private mode nothing is stored.
  }
  apply();
}

export function watchSystemTheme() {
  matchMedia("(prefers-color-scheme: light)").addEventListener("change", apply);
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The theme on the screen: dark or light, never system. */
export function useVisibleTheme(): string {
  return useSyncExternalStore(subscribe, () => document.documentElement.dataset.theme ?? "dark");
}

/** The current value of a CSS variable, for drawing on a canvas. */
export function cssVariable(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
