// Dark, light, or as the system has it. Kept in the browser; public/theme.js applies it before the first paint.
import { useSyncExternalStore } from "react";

export type Theme = "dark" | "light" | "system";
const KEY = "luner.theme";
const listeners = new Set<() => void>();

export function theme(): Theme {
  try {
    const kept = localStorage.getItem(KEY);
    return kept === "light" || kept === "system" ? kept : "dark";
  } catch {
    return "dark";
  }
}

function apply() {
  const it = theme();
  const light = it === "light" || (it === "system" && matchMedia("(prefers-color-scheme: light)").matches);
  document.documentElement.dataset.theme = light ? "light" : "dark";
  for (const listener of listeners) listener();
}

export function chooseTheme(it: Theme) {
  try {
    localStorage.setItem(KEY, it);
  } catch {
    // Private mode: it lasts as long as the page.
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

export function useTheme(): Theme {
  return useSyncExternalStore(subscribe, theme);
}

/** What is on the screen: dark or light. */
export function useShade(): string {
  return useSyncExternalStore(subscribe, () => document.documentElement.dataset.theme ?? "dark");
}

/** The value of a token now, for what is drawn on a canvas. */
export function token(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
