// The eight main figures, each with a sparkline over the period and the change since the previous period.
import { useQuery } from "@tanstack/react-query";
import type { Schemas } from "@/api/client";
import { type MetricName, series } from "@/api/queries";
import { Sparkline } from "@/components/sparkline";
import { Skeleton } from "@/components/states";
import { change, compact, count, duration, percent, usd } from "@/lib/format";
import type { RangeSearch } from "@/lib/time-range";

type Sums = Schemas["Sums"];
type Figure = {
  label: string;
  metric: MetricName;
  /** The key of the series' values to draw. */
  value: string;
  of: (sums: Sums) => number | null;
  format: (value: number | null) => string;
  about?: (sums: Sums) => string;
  /** Which direction is an improvement. Decides the colour of the change. */
  better?: "up" | "down";
  tone?: string;
};

const FIGURES: Figure[] = [
  {
    label: "Requests",
    metric: "requests",
    value: "requests",
    of: (it) => it.total_requests,
    format: compact,
    about: (it) => `${compact(it.total_traces)} traces`,
  },
  {
    label: "Cost",
    metric: "cost",
    value: "cost_usd",
    of: (it) => it.total_cost_usd,
    format: usd,
    about: (it) => (it.total_requests > 0 ? `${usd(it.total_cost_usd / it.total_requests)} per request` : ""),
    better: "down",
    tone: "text-cost",
  },
  {
    label: "Saved",
    metric: "saved",
    value: "saved_usd",
    of: (it) => it.saved_usd,
    format: usd,
    about: () => "by the cache",
    better: "up",
  },
  {
    label: "Tokens",
    metric: "tokens",
    value: "prompt",
    of: (it) => it.total_tokens,
    format: compact,
    about: (it) => (it.total_requests > 0 ? `${compact(it.total_tokens / it.total_requests)} per request` : ""),
  },
  {
    label: "Latency p95",
    metric: "latency",
    value: "p95_ms",
    of: (it) => it.p95_ms,
    format: duration,
    about: (it) => `p50 ${duration(it.p50_ms)} · p99 ${duration(it.p99_ms)}`,
    better: "down",
  },
  {
    label: "Error rate",
    metric: "errors",
    value: "error_rate",
    of: (it) => it.error_rate,
    format: percent,
    about: (it) => `${count(Math.round(it.error_rate * it.total_requests))} errors`,
    better: "down",
  },
  {
    label: "Cache hit rate",
    metric: "cache",
    value: "hit_rate",
    of: (it) => it.cache_hit_rate,
    format: percent,
    about: () => "of cacheable requests",
    better: "up",
  },
  {
    label: "Blocked",
    metric: "blocked",
    value: "blocked",
    of: (it) => it.blocked,
    format: compact,
    about: (it) => (it.total_requests > 0 ? `${percent(it.blocked / it.total_requests)} of requests` : ""),
  },
];

export function Figures({ range, data }: { range: RangeSearch; data: Schemas["Summary"] | undefined }) {
  return (
    <div className="grid grid-cols-2 gap-px overflow-hidden rounded-lg border border-line bg-line md:grid-cols-4">
      {FIGURES.map((figure) => (
        <FigureCard key={figure.label} figure={figure} range={range} data={data} />
      ))}
    </div>
  );
}

function FigureCard({
  figure,
  range,
  data,
}: {
  figure: Figure;
  range: RangeSearch;
  data: Schemas["Summary"] | undefined;
}) {
  const { data: history } = useQuery(series(figure.metric, range));
  const values = history?.points.map((point) => point.values[figure.value] ?? null) ?? [];
  return (
    <section aria-label={figure.label} className="relative flex min-w-0 flex-col bg-surface pt-3 pb-1">
      <h2 className="px-3.5 eyebrow">{figure.label}</h2>
      <div className="mt-0.5 flex flex-wrap items-baseline gap-x-2 px-3.5">
        {data ? (
          <>
            <span className={`text-xl font-semibold tracking-tight ${figure.tone ?? ""}`}>
              {figure.format(figure.of(data))}
            </span>
            <ChangeNote figure={figure} data={data} />
          </>
        ) : (
          <Skeleton className="my-1.5 h-5 w-20" />
        )}
      </div>
      <p className="mb-2 truncate px-3.5 text-xs text-faint">{data ? figure.about?.(data) : "\u00a0"}</p>
      <Sparkline
        values={values}
        tone={figure.tone ?? "text-accent"}
        className="mt-auto h-8 w-full lg:absolute lg:right-0 lg:bottom-3 lg:h-10 lg:w-[42%]"
      />
    </section>
  );
}

function ChangeNote({ figure, data }: { figure: Figure; data: Schemas["Summary"] }) {
  if (!data.previous) return null;
  const changed = change(figure.of(data), figure.of(data.previous));
  if (!changed) return null;
  const better = figure.better === changed.direction;
  const tone = !figure.better || changed.direction === "same" ? "text-faint" : better ? "text-good" : "text-bad";
  const before = figure.format(figure.of(data.previous));
  return (
    <span className={`text-xs ${tone}`} title={`${before} in the previous period`}>
      {changed.text}
    </span>
  );
}
