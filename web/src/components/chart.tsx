// A chart with its legend, which shows the values under the pointer. The drawing code is in a chunk of its own.
import { lazy, Suspense, useState } from "react";
import { minute } from "@/lib/format";
import { sum } from "@/lib/stack";
import { Skeleton } from "./states";

export type ChartSeries = {
  key: string;
  label: string;
  /** The name of a colour in theme.css. */
  color: string;
  /** Drawn as a thin line without a fill. */
  faint?: boolean;
};
export type ChartPoint = { t: number; values: Record<string, number | null> };
export type ChartProps = {
  label: string;
  points: ChartPoint[];
  series: ChartSeries[];
  kind: "bars" | "lines";
  format: (value: number | null) => string;
  /** The value in the legend while the pointer is elsewhere. */
  idleValue?: "sum" | "last" | "none";
  onZoom?: (from: Date, to: Date) => void;
  height?: number;
};

const Canvas = lazy(() => import("./chart-canvas"));

function idleText(props: ChartProps, key: string): string {
  const values = props.points.map((point) => point.values[key] ?? null);
  if (props.idleValue === "none") return "";
  if (props.idleValue === "last") return props.format(values.findLast((value) => value !== null) ?? null);
  return props.format(sum(values));
}

export function Chart(props: ChartProps) {
  const [pointedIndex, setPointedIndex] = useState<number | null>(null);
  const { label, points, series, format, height = 190 } = props;
  const pointed = pointedIndex === null ? undefined : points[pointedIndex];
  const text = series.map((it) => `${it.label} ${idleText(props, it.key)}`).join(", ");
  return (
    <figure className="min-w-0">
      <figcaption className="flex min-h-5 flex-wrap items-center gap-x-4 gap-y-0.5 text-xs text-soft">
        {series.map((it) => (
          <span key={it.key} className="inline-flex items-center gap-1.5">
            <Swatch color={it.color} />
            {it.label}
            <span className="text-ink">
              {pointed ? format(pointed.values[it.key] ?? null) : idleText(props, it.key)}
            </span>
          </span>
        ))}
        <span className="ml-auto text-faint">{pointed ? minute(pointed.t * 1000) : ""}</span>
      </figcaption>
      <div role="img" aria-label={`${label}: ${text}`} className="mt-2" style={{ height }}>
        <Suspense fallback={<Skeleton className="h-full w-full" />}>
          <Canvas {...props} height={height} onPoint={setPointedIndex} />
        </Suspense>
      </div>
    </figure>
  );
}

function Swatch({ color }: { color: string }) {
  return <span aria-hidden="true" className="size-2 rounded-[2px]" style={{ background: `var(--${color})` }} />;
}
