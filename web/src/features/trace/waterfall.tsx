// The span tree, with each span's place in time. Up and down move the selection, left and right collapse and expand.
import { type KeyboardEvent, useMemo, useRef, useState } from "react";
import type { Schemas } from "@/api/client";
import { Icon } from "@/components/icon";
import { duration, trimZeros, usd } from "@/lib/format";
import { extent, rows, ruler, type SpanRow } from "@/lib/tree";

type Span = Schemas["Span"];

const BARS: Record<Span["status"], string> = { ok: "bg-calm", error: "bg-bad", blocked: "bg-warn" };
/** The name's column, and the time axis in the rest. */
const GRID = "grid grid-cols-[minmax(120px,42%)_minmax(0,1fr)] md:grid-cols-[minmax(220px,34%)_minmax(0,1fr)]";

export function Waterfall({
  spans,
  selected,
  onSelect,
}: {
  spans: Span[];
  selected: string | null;
  onSelect: (id: string) => void;
}) {
  const [folded, setFolded] = useState<ReadonlySet<string>>(new Set());
  const tree = useRef<HTMLDivElement>(null);
  const list = useMemo(() => rows(spans, folded), [spans, folded]);
  const whole = useMemo(() => extent(spans), [spans]);
  const fold = (id: string, isFolded: boolean) => {
    const next = new Set(folded);
    if (isFolded) next.add(id);
    else next.delete(id);
    setFolded(next);
  };
  const go = (row: SpanRow<Span> | undefined) => {
    if (!row) return;
    onSelect(row.span.id);
    tree.current?.querySelector<HTMLElement>(`[data-span="${CSS.escape(row.span.id)}"]`)?.focus();
  };
  const press = (event: KeyboardEvent) => {
    const at = list.findIndex((row) => row.span.id === selected);
    const row = list[at];
    if (!row) return;
    const branch = row.span.children.length > 0;
    const parent = list.slice(0, at).findLast((it) => it.depth < row.depth);
    const actions: Record<string, () => void> = {
      ArrowDown: () => go(list[at + 1]),
      ArrowUp: () => go(list[at - 1]),
      ArrowRight: () => (branch && row.folded ? fold(row.span.id, false) : go(list[at + 1])),
      ArrowLeft: () => (branch && !row.folded ? fold(row.span.id, true) : go(parent)),
      Home: () => go(list[0]),
      End: () => go(list.at(-1)),
    };
    const run = actions[event.key];
    if (!run) return;
    event.preventDefault();
    run();
  };
  const marks = ruler(whole);
  return (
    <section aria-label="Spans" className="overflow-x-auto">
      <div className="min-w-[300px]">
        <div className={`${GRID} h-8 items-center border-b border-line text-xs text-faint`}>
          <span className="pl-4">Span</span>
          <span className="relative mr-16 sm:mr-36 h-full">
            {marks.map((mark) => (
              <span
                key={mark}
                className="absolute top-2 -translate-x-1/2 whitespace-nowrap first:translate-x-0 max-sm:even:hidden"
                style={{ left: `${(mark / (whole || 1)) * 100}%` }}
              >
                {trimZeros(duration(mark))}
              </span>
            ))}
          </span>
        </div>
        <div
          ref={tree}
          role="tree"
          tabIndex={-1}
          aria-label="Spans of the trace"
          onKeyDown={press}
          className="py-1 outline-none"
        >
          {list.map((row) => (
            <SpanLine
              key={row.span.id}
              row={row}
              selected={row.span.id === selected}
              marks={marks}
              whole={whole}
              onSelect={onSelect}
              onFold={fold}
            />
          ))}
        </div>
      </div>
    </section>
  );
}

type LineProps = {
  row: SpanRow<Span>;
  selected: boolean;
  marks: number[];
  whole: number;
  onSelect: (id: string) => void;
  onFold: (id: string, folded: boolean) => void;
};

function SpanLine({ row, selected, marks, whole, onSelect, onFold }: LineProps) {
  const { span, depth, left, width, folded } = row;
  const branch = span.children.length > 0;
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the tree around it handles the keyboard
    <div
      role="treeitem"
      data-span={span.id}
      aria-level={depth + 1}
      aria-selected={selected}
      aria-expanded={branch ? !folded : undefined}
      tabIndex={selected ? 0 : -1}
      onClick={() => onSelect(span.id)}
      className={`${GRID} h-8 cursor-pointer items-center hover:bg-hover ${selected ? "bg-accent-wash" : ""}`}
    >
      <span className="flex min-w-0 items-center gap-1 pr-3" style={{ paddingLeft: 12 + depth * 16 }}>
        {branch ? (
          <button
            type="button"
            tabIndex={-1}
            aria-label={folded ? "Expand" : "Collapse"}
            onClick={(event) => {
              event.stopPropagation();
              onFold(span.id, !folded);
            }}
            className="flex size-5 shrink-0 items-center justify-center rounded-sm text-faint hover:text-ink"
          >
            <Icon name={folded ? "right" : "down"} size={12} />
          </button>
        ) : (
          <span className="size-5 shrink-0" />
        )}
        {span.status !== "ok" && (
          <span role="img" aria-label={span.status} className={`size-1.5 shrink-0 rounded-full ${BARS[span.status]}`} />
        )}
        <span title={span.name} className="untrusted">
          {span.name}
        </span>
      </span>
      <span className="relative mr-16 sm:mr-36 h-full">
        {marks.map((mark) => (
          <span
            key={mark}
            aria-hidden="true"
            className="absolute inset-y-0 w-px bg-line"
            style={{ left: `${(mark / (whole || 1)) * 100}%` }}
          />
        ))}
        <span
          className={`absolute top-[11px] h-2.5 min-w-[3px] rounded-[3px] ${selected && span.status === "ok" ? "bg-accent" : BARS[span.status]}`}
          style={{ left: `${left * 100}%`, width: `${width * 100}%` }}
        />
        <span
          className="absolute top-[7px] pl-2 text-xs whitespace-nowrap text-soft"
          style={{ left: `calc(${(left + width) * 100}% + 3px)` }}
        >
          {duration(span.duration_ms)}
          {span.cost_usd ? <span className="ml-2 hidden text-cost sm:inline">{usd(span.cost_usd)}</span> : null}
        </span>
      </span>
    </div>
  );
}
