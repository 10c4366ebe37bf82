// Keyboard shortcuts of a page. Those without Ctrl or ⌘ are ignored while someone types or a dialog is open.
import { useEffect, useRef } from "react";

export type KeyMap = Record<string, (event: KeyboardEvent) => void>;

/** "mod+k", "?", "Escape", "j" */
export function keyName(event: Pick<KeyboardEvent, "key" | "metaKey" | "ctrlKey" | "altKey">): string {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  return `${event.metaKey || event.ctrlKey ? "mod+" : ""}${event.altKey ? "alt+" : ""}${key}`;
}

/** Looks at the composed path: the editor is in a shadow root, so the event's target would be its host. */
export function isTyping(event: Event): boolean {
  const element = event.composedPath()[0];
  if (!(element instanceof HTMLElement)) return false;
  return element.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName);
}

export function useKeys(keys: KeyMap, enabled = true) {
  const latest = useRef(keys);
  useEffect(() => {
    latest.current = keys;
  });
  useEffect(() => {
    if (!enabled) return;
    const press = (event: KeyboardEvent) => {
      const name = keyName(event);
      const run = latest.current[name];
      if (!run || event.defaultPrevented) return;
      if (!name.startsWith("mod+")) {
        if (isTyping(event) || document.querySelector("[role=dialog],[role=menu],[role=alertdialog]")) return;
      }
      event.preventDefault();
      run(event);
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, [enabled]);
}

export const MOD = /Mac|iP(hone|ad)/.test(globalThis.navigator?.userAgent ?? "") ? "⌘" : "Ctrl";
