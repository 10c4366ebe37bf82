// The columns of the list. A phone shows the one column that holds the most of it.
import { Link } from "@tanstack/react-router";
import { createColumnHelper } from "@tanstack/react-table";
import type { Schemas } from "@/api/client";
import { Icon } from "@/components/icon";
import { CacheTag, PolicyMarks, Status } from "@/components/tone";
import { compact, count, duration, instant, time, usd } from "@/lib/format";

type Item = Schemas["TraceItem"];
export type ColumnLook = { cell: string; width: string };

const column = createColumnHelper<Item>();
const WIDE = "hidden md:table-cell";
const WIDER = "hidden xl:table-cell";
const look = (width: string, cell: string): { meta: ColumnLook } => ({ meta: { width, cell } });

function Name({ value, none = "–" }: { value: string; none?: string }) {
  return value === "" ? (
    <span className="text-faint">{none}</span>
  ) : (
    <span title={value} className="block outside">
      {value}
    </span>
  );
}

function Model({ item }: { item: Item }) {
  return (
    <span className="flex min-w-0 items-center gap-1.5">
      {item.model !== item.model_asked && (
        <>
          <span title={item.model_asked} className="outside text-faint">
            {item.model_asked}
          </span>
          <Icon name="arrow" size={12} className="text-shift" />
        </>
      )}
      <span title={`${item.model} at ${item.provider || "no provider"}`} className="outside">
        {item.model}
      </span>
    </span>
  );
}

function DurationBar({ ms, longest }: { ms: number; longest: number }) {
  // By the root: a slow one must not make all others vanish.
  const share = longest > 0 ? Math.sqrt(ms / longest) : 0;
  return (
    <span className="flex items-center gap-2">
      <span className="w-16 shrink-0 text-right">{duration(ms)}</span>
      <span aria-hidden="true" className="h-1 min-w-0 flex-1 rounded-full bg-hover">
        <span
          className="block h-full rounded-full bg-calm"
          style={{ width: `${Math.max(2, share * 100).toFixed(1)}%` }}
        />
      </span>
    </span>
  );
}

function Cost({ item }: { item: Item }) {
  const saved = item.saved_usd > 0 ? `${usd(item.saved_usd)} saved by the cache` : undefined;
  return (
    <span title={saved} className={item.cost_usd > 0 ? "text-cost" : "text-faint"}>
      {usd(item.cost_usd)}
    </span>
  );
}

function Phone({ item }: { item: Item }) {
  return (
    <span className="flex flex-col gap-0.5">
      <span className="flex items-center gap-3">
        <Status status={item.status} outcome={item.outcome} />
        <span className="min-w-0 flex-1">
          <Model item={item} />
        </span>
        <PolicyMarks policies={item.policies} />
        <Cost item={item} />
      </span>
      <span className="flex items-center gap-2 text-xs text-faint">
        <span className="shrink-0">{time(item.started_at)}</span>
        <span className="min-w-0 flex-1 outside">
          {[item.agent_name, item.user_id].filter((it) => it !== "").join(" · ")}
        </span>
        <span className="shrink-0">{duration(item.duration_ms)}</span>
      </span>
    </span>
  );
}

export function columns(longest: number, search: Record<string, unknown>) {
  const open = (item: Item) => (
    <Link
      to="/traces/$id"
      params={{ id: item.trace_id }}
      search={search}
      tabIndex={-1}
      title={`${instant(item.started_at)}\n${item.trace_id}`}
      className="text-soft group-hover:text-ink"
    >
      {time(item.started_at)}
    </Link>
  );
  return [
    column.display({
      id: "phone",
      header: "Request",
      cell: ({ row }) => <Phone item={row.original} />,
      ...look("auto", "md:hidden"),
    }),
    column.accessor("started_at", { header: "Time", cell: ({ row }) => open(row.original), ...look("104px", WIDE) }),
    column.accessor("agent_name", {
      header: "Agent",
      cell: (it) => <Name value={it.getValue()} />,
      ...look("14%", WIDE),
    }),
    column.accessor("user_id", { header: "User", cell: (it) => <Name value={it.getValue()} />, ...look("12%", WIDE) }),
    column.accessor("model", {
      header: "Model",
      cell: ({ row }) => <Model item={row.original} />,
      ...look("auto", WIDE),
    }),
    column.accessor("status", {
      header: "Status",
      cell: ({ row }) => <Status status={row.original.status} outcome={row.original.outcome} />,
      ...look("70px", WIDE),
    }),
    column.accessor("tokens.total", {
      header: "Tokens",
      cell: ({ row }) => (
        <span
          title={`${count(row.original.tokens.prompt)} prompt, ${count(row.original.tokens.completion)} completion`}
        >
          {compact(row.original.tokens.total)}
        </span>
      ),
      ...look("76px", `${WIDER} text-right text-soft`),
    }),
    column.accessor("cost_usd", {
      header: "Cost",
      cell: ({ row }) => <Cost item={row.original} />,
      ...look("84px", `${WIDE} text-right`),
    }),
    column.accessor("duration_ms", {
      header: "Duration",
      cell: (it) => <DurationBar ms={it.getValue()} longest={longest} />,
      ...look("156px", `${WIDE} text-soft`),
    }),
    column.accessor("cache", {
      header: "Cache",
      cell: (it) => <CacheTag cache={it.getValue()} />,
      ...look("56px", WIDER),
    }),
    column.accessor("policies", {
      header: "Policies",
      cell: (it) => <PolicyMarks policies={it.getValue()} />,
      ...look("80px", WIDE),
    }),
  ];
}
