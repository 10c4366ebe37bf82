// Draws a chart with uPlot. The plot is recreated when its shape or the theme changes, and updated when only the data does.
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { axisTime, trimZeros } from "@/lib/format";
import { stacked } from "@/lib/stack";
import { cssVariable, useVisibleTheme } from "@/lib/theme";
import type { ChartProps } from "./chart";

type Props = ChartProps & { height: number; onPoint: (index: number | null) => void };

/** The cursors of all charts on a page move together. */
const SYNC_KEY = "luner";
/** Shortest drag, in pixels. A shorter one is a click. Arbitrary. */
const DRAG_PX_MIN = 8;

function dataOf({ points, series, kind }: Props): uPlot.AlignedData {
  const columns = series.map((it) => points.map((point) => point.values[it.key] ?? null));
  const x = points.map((point) => point.t);
  return kind === "bars" ? [x, ...stacked(columns).reverse()] : [x, ...columns];
}

function seriesOf({ series, kind }: Props): uPlot.Series[] {
  const bars = uPlot.paths.bars?.({ size: [0.72, 28], align: 1 });
  const list = series.map((it): uPlot.Series => {
    const color = cssVariable(it.color);
    if (kind === "bars") return { stroke: color, fill: color, width: 0, paths: bars, points: { show: false } };
    return {
      stroke: color,
      width: it.faint ? 1 : 1.5,
      points: { show: false },
      fill: it.faint ? undefined : `${color}14`,
    };
  });
  return [{}, ...(kind === "bars" ? list.reverse() : list)];
}

/** Room for the last bar, in seconds: a bar starts at its point and covers the step after it. */
function lastBarWidth({ kind, points }: Props): number {
  const [first, second] = points;
  return kind === "bars" && first && second ? second.t - first.t : 0;
}

function optionsOf(props: () => Props, width: number, height: number): uPlot.Options {
  const font = `11px ${cssVariable("font-sans") || "system-ui"}`;
  const grid = { stroke: cssVariable("line"), width: 1 };
  const axis = { stroke: cssVariable("faint"), font, grid, ticks: { show: false } };
  return {
    width,
    height,
    padding: [8, 18, 0, 0],
    legend: { show: false },
    scales: {
      x: { time: true, range: (_, from, to) => [from, to + lastBarWidth(props())] },
      y: { range: (_, __, top) => [0, top > 0 ? top * 1.08 : 1] },
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        space: 72,
        size: 26,
        values: (_, ticks, __, ___, step) => ticks.map((at) => axisTime(at * 1000, step)),
      },
      {
        ...axis,
        space: 40,
        size: (_, values) => 14 + Math.max(20, ...(values ?? []).map((it) => it.length * 6.4)),
        values: (_, ticks) => ticks.map((it) => trimZeros(props().format(it))),
      },
    ],
    series: seriesOf(props()),
    cursor: {
      sync: { key: SYNC_KEY },
      y: false,
      points: { show: props().kind === "lines", size: 6 },
      drag: { x: true, y: false, setScale: false },
    },
    hooks: {
      setCursor: [(plot) => props().onPoint(plot.cursor.idx ?? null)],
      setSelect: [
        (plot) => {
          const { left, width: wide } = plot.select;
          if (wide >= DRAG_PX_MIN)
            props().onZoom?.(
              new Date(plot.posToVal(left, "x") * 1000),
              new Date(plot.posToVal(left + wide, "x") * 1000),
            );
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
    },
  };
}

export default function ChartCanvas(props: Props) {
  const container = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(null);
  const latest = useRef(props);
  const theme = useVisibleTheme();
  const shape = `${theme} ${props.kind} ${props.height} ${props.series.map((it) => it.key).join()}`;
  useEffect(() => {
    latest.current = props;
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the data depends on the points only
  useEffect(() => {
    plot.current?.setData(dataOf(props));
  }, [props.points]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the shape covers everything the plot is created from
  useEffect(() => {
    const element = container.current;
    if (!element) return;
    const created = new uPlot(
      optionsOf(() => latest.current, element.clientWidth, latest.current.height),
      dataOf(latest.current),
      element,
    );
    plot.current = created;
    const observer = new ResizeObserver(() =>
      created.setSize({ width: element.clientWidth, height: latest.current.height }),
    );
    observer.observe(element);
    return () => {
      observer.disconnect();
      created.destroy();
      plot.current = null;
    };
  }, [shape]);
  return <div ref={container} aria-hidden="true" className="h-full w-full" />;
}
