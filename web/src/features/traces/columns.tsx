// The columns of the list. On a phone, one column holds the main fields.
import { Link } from "@tanstack/react-router";
import { createColumnHelper } from "@tanstack/react-table";
import type { Schemas } from "@/api/client";
import { Icon } from "@/components/icon";
import { CacheTag, PolicyMarks, Status } from "@/components/tone";
import { compact, count, duration, fullTime, time, usd } from "@/lib/format";

type Item = Schemas["TraceItem"];
export type ColumnStyle = { cell: string; width: string };

const column = createColumnHelper<Item>();
const WIDE = "hidden md:table-cell";
const WIDER = "hidden xl:table-cell";
const styled = (width: string, cell: string): { meta: ColumnStyle } => ({ meta: { width, cell } });

function NameCell({ value, none = "–" }: { value: string; none?: string }) {
  return value === "" ? (
    <span className="text-faint">{none}</span>
  ) : (
    <span title={value} className="block untrusted">
      {value}
    </span>
  );
}

function ModelCell({ item }: { item: Item }) {
  return (
    <span className="flex min-w-0 items-center gap-1.5">
      {item.model !== item.model_asked && (
        <>
          <span title={item.model_asked} className="untrusted text-faint">
            {item.model_asked}
          </span>
          <Icon name="arrow" size={12} className="text-shift" />
        </>
      )}
      <span title={`${item.model} from ${item.provider || "no provider"}`} className="untrusted">
        {item.model}
      </span>
    </span>
  );
}

function DurationBar({ ms, longest }: { ms: number; longest: number }) {
  // The square root keeps short durations visible beside a very long one.
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

function CostCell({ item }: { item: Item }) {
  const saved = item.saved_usd > 0 ? `${usd(item.saved_usd)} saved by the cache` : undefined;
  return (
    <span title={saved} className={item.cost_usd > 0 ? "text-cost" : "text-faint"}>
      {usd(item.cost_usd)}
    </span>
  );
}

function PhoneCell({ item }: { item: Item }) {
  return (
    <span className="flex flex-col gap-0.5">
      <span className="flex items-center gap-3">
        <Status status={item.status} outcome={item.outcome} />
        <span className="min-w-0 flex-1">
          <ModelCell item={item} />
        </span>
        <PolicyMarks policies={item.policies} />
        <CostCell item={item} />
      </span>
      <span className="flex items-center gap-2 text-xs text-faint">
        <span className="shrink-0">{time(item.started_at)}</span>
        <span className="min-w-0 flex-1 untrusted">
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
      title={`${fullTime(item.started_at)}\n${item.trace_id}`}
      className="text-soft group-hover:text-ink"
    >
      {time(item.started_at)}
    </Link>
  );
  return [
    column.display({
      id: "phone",
      header: "Request",
      cell: ({ row }) => <PhoneCell item={row.original} />,
      ...styled("auto", "md:hidden"),
    }),
    column.accessor("started_at", { header: "Time", cell: ({ row }) => open(row.original), ...styled("104px", WIDE) }),
    column.accessor("agent_name", {
      header: "Agent",
      cell: (it) => <NameCell value={it.getValue()} />,
      ...styled("14%", WIDE),
    }),
    column.accessor("user_id", {
      header: "User",
      cell: (it) => <NameCell value={it.getValue()} />,
      ...styled("12%", WIDE),
    }),
    column.accessor("model", {
      header: "Model",
      cell: ({ row }) => <ModelCell item={row.original} />,
      ...styled("auto", WIDE),
    }),
    column.accessor("status", {
      header: "Status",
      cell: ({ row }) => <Status status={row.original.status} outcome={row.original.outcome} />,
      ...styled("70px", WIDE),
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
      ...styled("76px", `${WIDER} text-right text-soft`),
    }),
    column.accessor("cost_usd", {
      header: "Cost",
      cell: ({ row }) => <CostCell item={row.original} />,
      ...styled("84px", `${WIDE} text-right`),
    }),
    column.accessor("duration_ms", {
      header: "Duration",
      cell: (it) => <DurationBar ms={it.getValue()} longest={longest} />,
      ...styled("156px", `${WIDE} text-soft`),
    }),
    column.accessor("cache", {
      header: "Cache",
      cell: (it) => <CacheTag cache={it.getValue()} />,
      ...styled("56px", WIDER),
    }),
    column.accessor("policies", {
      header: "Policies",
      cell: (it) => <PolicyMarks policies={it.getValue()} />,
      ...styled("80px", WIDE),
    }),
  ];
}
