// The live tail: requests as they end, drawn a few times a second however many come. Paused, they are counted.
import { useEffect, useReducer, useRef } from "react";
import { address, type Schemas } from "@/api/client";
import { filterQuery } from "@/api/queries";
import type { TracesSearch } from "@/lib/search";

type Item = Schemas["TraceItem"];
/** `gap`: while the connection was gone, more passed than the gateway could say again. */
export type Tail = { rows: Item[]; waiting: number; dropped: number; gap: boolean; connected: boolean };

/** Rows that are kept and drawn; older ones are in the list, which has pages. Arbitrary. */
export const ROWS_MAX = 100;
/** Between two drawings: faster is not read. */
const BEAT_MS = 400;
const NONE: Tail = { rows: [], waiting: 0, dropped: 0, gap: false, connected: false };

/** New ones on top, each trace once: a later request of a trace takes the earlier one's place. */
export function prepended(fresh: Item[], rows: Item[]): Item[] {
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
  | { fresh: Item[]; came: number; dropped: number; gap: boolean; connected: boolean; paused: boolean }
  | "reset";

export function reduce(tail: Tail, change: Change): Tail {
  if (change === "reset") return NONE;
  const { fresh, came, dropped, connected, paused } = change;
  const gap = tail.gap || change.gap;
  if (paused) return { ...tail, waiting: tail.waiting + came, dropped: tail.dropped + dropped, gap, connected };
  return {
    rows: fresh.length > 0 ? prepended(fresh, tail.rows) : tail.rows,
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
  const [tail, change] = useReducer(reduce, NONE);
  const isPaused = useRef(paused);
  useEffect(() => {
    isPaused.current = paused;
  }, [paused]);
  const stream = address("/api/traces/stream", {}, filterQuery(search));
  useEffect(() => {
    if (!enabled) return;
    change("reset");
    const source = new EventSource(stream);
    let fresh: Item[] = [];
    let came = 0;
    let dropped = 0;
    let gap = false;
    source.addEventListener("trace", (event) => {
      const item = parsed(event.data);
      if (!item) return;
      came += 1;
      fresh.push(item);
      if (fresh.length > ROWS_MAX) fresh = fresh.slice(-ROWS_MAX);
    });
    source.addEventListener("dropped", (event) => {
      dropped += Number((parsed(event.data) as unknown as { count?: number } | null)?.count ?? 0);
    });
    source.addEventListener("gap", () => {
      gap = true;
    });
    let was = "";
    const timer = setInterval(() => {
      const connected = source.readyState === EventSource.OPEN;
      const is = `${came} ${dropped} ${gap} ${connected} ${isPaused.current}`;
      if (is === was && fresh.length === 0) return;
      was = `0 0 false ${connected} ${isPaused.current}`;
      change({ fresh, came, dropped, gap, connected, paused: isPaused.current });
      // What waits is kept, the newest at least, until the tail goes on.
      if (!isPaused.current) fresh = [];
      came = 0;
      dropped = 0;
      gap = false;
    }, BEAT_MS);
    return () => {
      clearInterval(timer);
      source.close();
    };
  }, [stream, enabled]);
  return tail;
}
