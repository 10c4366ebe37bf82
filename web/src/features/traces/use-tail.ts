// The live tail: requests as they end, drawn a few times a second however many arrive. While paused, it only counts them.
import { useEffect, useReducer, useRef } from "react";
import { apiUrl, type Schemas } from "@/api/client";
import { filterQuery } from "@/api/queries";
import type { TracesSearch } from "@/lib/search";

type Item = Schemas["TraceItem"];
/** `gap`: more requests ended during a reconnect than the gateway could replay. */
export type Tail = { rows: Item[]; waiting: number; dropped: number; gap: boolean; connected: boolean };

/** Most rows kept and drawn. Arbitrary: the list has older ones, with pages. */
export const ROWS_MAX = 100;
/** Time between two redraws. Arbitrary: nobody reads faster. */
const REDRAW_MS = 400;
const NONE: Tail = { rows: [], waiting: 0, dropped: 0, gap: false, connected: false };

/** Puts new rows on top, with each trace once: a later request of a trace replaces the earlier one. */
export function prependRows(fresh: Item[], rows: Item[]): Item[] {
  const seen = new Set<string>();
  const merged: Item[] = [];
  for (const item of [...fresh].reverse().concat(rows)) {
    if (merged.length === ROWS_MAX) break;
    if (seen.has(item.trace_id)) continue;
    seen.add(item.trace_id);
    merged.push(item);
  }
  return merged;
}

type Change =
  | { fresh: Item[]; received: number; dropped: number; gap: boolean; connected: boolean; paused: boolean }
  | "reset";

export function tailReducer(tail: Tail, change: Change): Tail {
  if (change === "reset") return NONE;
  const { fresh, received, dropped, connected, paused } = change;
  const gap = tail.gap || change.gap;
  if (paused) return { ...tail, waiting: tail.waiting + received, dropped: tail.dropped + dropped, gap, connected };
  return {
    rows: fresh.length > 0 ? prependRows(fresh, tail.rows) : tail.rows,
    waiting: 0,
    dropped: tail.dropped + dropped,
    gap,
    connected,
  };
}

function parsed(data: string): Item | null {
  try {
    return JSON.parse(data) as Item;
  } catch {
    return null;
  }
}

export function useTail(search: TracesSearch, enabled: boolean, paused: boolean): Tail {
  const [tail, change] = useReducer(tailReducer, NONE);
  const isPaused = useRef(paused);
  useEffect(() => {
    isPaused.current = paused;
  }, [paused]);
  const stream = apiUrl("/api/traces/stream", {}, filterQuery(search));
  useEffect(() => {
    if (!enabled) return;
    change("reset");
    const source = new EventSource(stream);
    let fresh: Item[] = [];
    let received = 0;
    let dropped = 0;
    let gap = false;
    source.addEventListener("trace", (event) => {
      const item = parsed(event.data);
      if (!item) return;
      received += 1;
      fresh.push(item);
      if (fresh.length > ROWS_MAX) fresh = fresh.slice(-ROWS_MAX);
    });
    source.addEventListener("dropped", (event) => {
      dropped += Number((parsed(event.data) as unknown as { count?: number } | null)?.count ?? 0);
    });
    source.addEventListener("gap", () => {
      gap = true;
    });
    let lastState = "";
    const timer = setInterval(() => {
      const connected = source.readyState === EventSource.OPEN;
      const state = `${received} ${dropped} ${gap} ${connected} ${isPaused.current}`;
      if (state === lastState && fresh.length === 0) return;
      lastState = `0 0 false ${connected} ${isPaused.current}`;
      change({ fresh, received, dropped, gap, connected, paused: isPaused.current });
      // While paused, the newest rows are kept until the tail resumes.
      if (!isPaused.current) fresh = [];
      received = 0;
      dropped = 0;
      gap = false;
    }, REDRAW_MS);
    return () => {
      clearInterval(timer);
      source.close();
    };
  }, [stream, enabled]);
  return tail;
}
