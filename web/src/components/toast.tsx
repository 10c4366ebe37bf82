// Short messages about what just happened, with at most one action each.
import { useEffect, useSyncExternalStore } from "react";
import { IconButton } from "./button";

type Toast = { id: number; text: string; tone: "plain" | "bad"; action?: { label: string; run: () => void } };
/** Long enough to read the message and reach for its button. Arbitrary. */
const VISIBLE_MS = 8_000;
/** Most toasts at a time; older ones are dropped. Arbitrary. */
const TOASTS_MAX = 3;

let toasts: readonly Toast[] = [];
let lastId = 0;
const listeners = new Set<() => void>();

function publish(next: readonly Toast[]) {
  toasts = next.slice(-TOASTS_MAX);
  for (const listener of listeners) listener();
}

export function toast(text: string, more: Partial<Omit<Toast, "id" | "text">> = {}) {
  lastId += 1;
  publish([...toasts, { id: lastId, text, tone: "plain", ...more }]);
}

const dismiss = (id: number) => publish(toasts.filter((it) => it.id !== id));

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function ToastCard({ id, text, tone, action }: Toast) {
  useEffect(() => {
    const timer = setTimeout(() => dismiss(id), VISIBLE_MS);
    return () => clearTimeout(timer);
  }, [id]);
  return (
    <div className="pointer-events-auto flex w-full max-w-md animate-appear items-center gap-3 rounded-lg border border-edge bg-raised py-1.5 pr-1.5 pl-4 shadow-float">
      <p className={`min-w-0 flex-1 break-words ${tone === "bad" ? "text-bad" : "text-ink"}`}>{text}</p>
      {action && (
        <button
          type="button"
          className="rounded-md px-2 py-1 font-medium text-accent hover:bg-hover"
          onClick={() => {
            dismiss(id);
            action.run();
          }}
        >
          {action.label}
        </button>
      )}
      <IconButton icon="close" label="Dismiss" onClick={() => dismiss(id)} />
    </div>
  );
}

export function Toasts() {
  const list = useSyncExternalStore(subscribe, () => toasts);
  return (
    <section
      aria-label="Messages"
      aria-live="polite"
      className="pointer-events-none fixed inset-x-3 bottom-16 z-50 flex flex-col items-center gap-2 sm:bottom-5"
    >
      {list.map((it) => (
        <ToastCard key={it.id} {...it} />
      ))}
    </section>
  );
}
