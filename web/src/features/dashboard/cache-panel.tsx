// Current traffic and cache figures, refetched every five seconds, and the hit rate since the page was opened.
import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import type { Schemas } from "@/api/client";
import { live } from "@/api/queries";
import { Sparkline } from "@/components/sparkline";
import { compact, count, percent } from "@/lib/format";
import { Panel } from "./panel";

/** Ten minutes at one sample every five seconds. */
const SAMPLES_MAX = 120;

/** The hit rate between two samples. For the first sample, the rate since luner started. Null if nothing was looked up. */
export function hitRateBetween(before: Schemas["Live"] | null, now: Schemas["Live"]): number | null {
  if (!before) return now.cache.hit_rate;
  const hits = now.cache.hits - before.cache.hits;
  const lookups = hits + now.cache.misses - before.cache.misses;
  return lookups > 0 && hits >= 0 ? hits / lookups : null;
}

function useHitRates(data: Schemas["Live"] | undefined): (number | null)[] {
  const before = useRef<Schemas["Live"]>(null);
  const [rates, setRates] = useState<(number | null)[]>([]);
  useEffect(() => {
    if (!data) return;
    const rate = hitRateBetween(before.current, data);
    before.current = data;
    setRates((list) => [...(list.length === 0 ? [rate] : list), rate ?? list.at(-1) ?? 0].slice(-SAMPLES_MAX));
  }, [data]);
  return rates;
}

export function CachePanel({ className }: { className: string }) {
  const query = useQuery(live());
  const { data } = query;
  const rates = useHitRates(data);
  const full = data && data.cache.max_items > 0 ? data.cache.size / data.cache.max_items : 0;
  return (
    <Panel
      title="Now"
      className={className}
      query={query}
      aside={
        <span className="inline-flex items-center gap-2 text-xs text-faint">
          <span aria-hidden="true" className="size-1.5 animate-breathe rounded-full bg-good" />
          every 5 s
        </span>
      }
    >
      {data && (
        <div className="flex flex-1 flex-col gap-4">
          <div className="grid grid-cols-2 gap-4">
            <LiveFigure label="Requests per second" value={data.requests_per_second.toFixed(1)} />
            <LiveFigure label="In flight" value={count(data.in_flight)} />
          </div>
          <div className="border-t border-line pt-3">
            <div className="flex items-baseline justify-between">
              <p className="eyebrow">Cache hit rate since start</p>
              <p className="text-lg font-semibold text-cache">{percent(data.cache.hit_rate)}</p>
            </div>
            <Sparkline values={rates} tone="text-cache" className="mt-1 h-9 w-full" />
          </div>
          <div className="mt-auto">
            <div className="flex justify-between text-xs text-soft">
              <span>{`${count(data.cache.size)} of ${count(data.cache.max_items)} answers`}</span>
              <span>{percent(full)}</span>
            </div>
            <div className="mt-1.5 h-1 overflow-hidden rounded-full bg-hover">
              <div className="h-full rounded-full bg-cache" style={{ width: `${Math.min(100, full * 100)}%` }} />
            </div>
            <p className="mt-2 flex justify-between text-xs text-faint">
              <span>{`${compact(data.cache.hits)} hits, ${compact(data.cache.misses)} misses`}</span>
              <span>{`${count(data.cache.evictions)} evicted`}</span>
            </p>
          </div>
        </div>
      )}
    </Panel>
  );
}

function LiveFigure({ label, value }: { label: string; value: string }) {
  return (
    <div>
      <p className="eyebrow">{label}</p>
      <p className="text-lg font-semibold">{value}</p>
    </div>
  );
}
