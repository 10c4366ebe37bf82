// The drawing of a chart, by uPlot. Made anew when the shape or the theme changes, fed when only the data does.
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { tick, trimmed } from "@/lib/format";
import { stacked } from "@/lib/stack";
import { token, useShade } from "@/lib/theme";
import type { ChartProps } from "./chart";

type Props = ChartProps & { height: number; onPoint: (index: number | null) => void };

/** Charts of a page point at the same moment. */
const SYNC = "luner";
/** A drag shorter than this, in pixels, is a click. */
const DRAG_MIN = 8;

function dataOf({ points, series, kind }: Props): uPlot.AlignedData {
  const columns = series.map((it) => points.map((point) => point.values[it.key] ?? null));
  const x = points.map((point) => point.t);
  return kind === "bars" ? [x, ...stacked(columns).reverse()] : [x, ...columns];
}

function seriesOf({ series, kind }: Props): uPlot.Series[] {
  const bars = uPlot.paths.bars?.({ size: [0.72, 28], align: 1 });
  const list = series.map((it): uPlot.Series => {
    const color = token(it.color);
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

/** A bar begins at its moment and stands for the step after it, so the last one needs room. */
function tail({ kind, points }: Props): number {
  const [first, second] = points;
  return kind === "bars" && first && second ? second.t - first.t : 0;
}

function optionsOf(props: () => Props, width: number, height: number): uPlot.Options {
  const font = `11px ${token("font-sans") || "system-ui"}`;
  const grid = { stroke: token("line"), width: 1 };
  const axis = { stroke: token("faint"), font, grid, ticks: { show: false } };
  return {
    width,
    height,
    padding: [8, 18, 0, 0],
    legend: { show: false },
    scales: {
      x: { time: true, range: (_, from, to) => [from, to + tail(props())] },
      y: { range: (_, __, top) => [0, top > 0 ? top * 1.08 : 1] },
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        space: 72,
        size: 26,
        values: (_, ticks, __, ___, step) => ticks.map((at) => tick(at * 1000, step)),
      },
      {
        ...axis,
        space: 40,
        size: (_, values) => 14 + Math.max(20, ...(values ?? []).map((it) => it.length * 6.4)),
        values: (_, ticks) => ticks.map((it) => trimmed(props().format(it))),
      },
    ],
    series: seriesOf(props()),
    cursor: {
      sync: { key: SYNC },
      y: false,
      points: { show: props().kind === "lines", size: 6 },
      drag: { x: true, y: false, setScale: false },
    },
    hooks: {
      setCursor: [(plot) => props().onPoint(plot.cursor.idx ?? null)],
      setSelect: [
        (plot) => {
          const { left, width: wide } = plot.select;
          if (wide >= DRAG_MIN)
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
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(null);
  const latest = useRef(props);
  const shade = useShade();
  const shape = `${shade} ${props.kind} ${props.height} ${props.series.map((it) => it.key).join()}`;
  useEffect(() => {
    latest.current = props;
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: only new points are new data
  useEffect(() => {
    plot.current?.setData(dataOf(props));
  }, [props.points]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the shape stands for all that the plot is made from
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const made = new uPlot(
      optionsOf(() => latest.current, element.clientWidth, latest.current.height),
      dataOf(latest.current),
      element,
    );
    plot.current = made;
    const observer = new ResizeObserver(() =>
      made.setSize({ width: element.clientWidth, height: latest.current.height }),
    );
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape]);
  return <div ref={place} aria-hidden="true" className="h-full w-full" />;
}
