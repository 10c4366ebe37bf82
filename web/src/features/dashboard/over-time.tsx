// Charts over the period. Dragging over one zooms all of them to that part.
import { useQuery } from "@tanstack/react-query";
import { type MetricName, series } from "@/api/queries";
import { Chart, type ChartSeries } from "@/components/chart";
import { useSetRange } from "@/features/shell/time-range-picker";
import { compact, duration, longDuration, usd } from "@/lib/format";
import type { RangeSearch } from "@/lib/time-range";
import { Panel } from "./panel";

type Props = { range: RangeSearch; className: string };

const STATUS: ChartSeries[] = [
  { key: "2xx", label: "2xx", color: "calm" },
  { key: "4xx", label: "4xx", color: "warn" },
  { key: "5xx", label: "5xx", color: "bad" },
];
const TOKENS: ChartSeries[] = [
  { key: "prompt", label: "Prompt", color: "calm" },
  { key: "completion", label: "Completion", color: "accent" },
];
const LATENCY: ChartSeries[] = [
  { key: "p99_ms", label: "p99", color: "faint", faint: true },
  { key: "p95_ms", label: "p95", color: "accent" },
  { key: "p50_ms", label: "p50", color: "cache" },
];
const COST: ChartSeries[] = [{ key: "cost_usd", label: "Cost", color: "cost" }];

function SeriesPanel({
  range,
  className,
  title,
  metric,
  list,
  kind,
  format,
  idleValue,
  height,
}: Props & {
  title: string;
  metric: MetricName;
  list: ChartSeries[];
  kind: "bars" | "lines";
  format: (value: number | null) => string;
  idleValue?: "sum" | "none";
  height?: number;
}) {
  const query = useQuery(series(metric, range));
  const setRange = useSetRange();
  const zoom = (from: Date, to: Date) => setRange({ from: from.toISOString(), to: to.toISOString() });
  return (
    <Panel
      title={title}
      about={query.data ? `per ${longDuration(query.data.step_s)}` : undefined}
      className={className}
      query={query}
    >
      <Chart
        label={title}
        points={query.data?.points ?? []}
        series={list}
        kind={kind}
        format={format}
        idleValue={idleValue}
        onZoom={zoom}
        height={height}
      />
    </Panel>
  );
}

export function StatusPanel(props: Props) {
  return (
    <SeriesPanel {...props} title="Requests by status" metric="status" list={STATUS} kind="bars" format={compact} />
  );
}

export function TokensPanel(props: Props) {
  return <SeriesPanel {...props} title="Tokens" metric="tokens" list={TOKENS} kind="bars" format={compact} />;
}

export function LatencyPanel(props: Props) {
  return (
    <SeriesPanel
      {...props}
      title="Latency"
      metric="latency"
      list={LATENCY}
      kind="lines"
      format={duration}
      idleValue="none"
    />
  );
}

export function CostOverTime(props: Props) {
  return <SeriesPanel {...props} title="Cost" metric="cost" list={COST} kind="bars" format={usd} height={232} />;
}
