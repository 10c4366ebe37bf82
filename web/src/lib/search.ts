// What of the URL each page understands. Values are plain text there, so that addresses can be read and written by hand.
import { type RangeSearch, readRange } from "./time-range";

type Params = Record<string, unknown>;

export function parseSearch(text: string): Record<string, string> {
  return Object.fromEntries(new URLSearchParams(text));
}

export function stringifySearch(search: Params): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(search)) {
    if (value !== undefined && value !== null && value !== "") params.set(name, String(value));
  }
  const text = params.toString();
  return text === "" ? "" : `?${text}`;
}

export const EQUAL_FILTERS = ["agent_name", "user_id", "tenant_id", "model", "provider"] as const;
export const FILTER_LABELS = {
  agent_name: "Agent",
  user_id: "User",
  tenant_id: "Tenant",
  model: "Model",
  provider: "Provider",
  status: "Status",
  q: "Search",
  min_cost: "Cost from",
  min_ms: "Duration from",
} as const;

export type TraceFilter = {
  q?: string;
  agent_name?: string;
  user_id?: string;
  tenant_id?: string;
  model?: string;
  provider?: string;
  status?: string;
  min_cost?: number;
  min_ms?: number;
};
export type FilterName = keyof TraceFilter;
export type TracesSearch = RangeSearch & TraceFilter & { page?: number; live?: boolean };
export type TraceSearch = RangeSearch & TraceFilter & { span?: string };

/** Longer is no name but an accident. */
const TEXT_MAX = 512;

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value.slice(0, TEXT_MAX) : undefined;
}

function positive(value: unknown): number | undefined {
  const number =
    typeof value === "number" ? value : typeof value === "string" && value !== "" ? Number(value) : Number.NaN;
  return Number.isFinite(number) && number > 0 ? number : undefined;
}

function defined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, it]) => it !== undefined)) as T;
}

export function readFilter(search: Params): TraceFilter {
  return defined({
    q: text(search.q),
    agent_name: text(search.agent_name),
    user_id: text(search.user_id),
    tenant_id: text(search.tenant_id),
    model: text(search.model),
    provider: text(search.provider),
    status: text(search.status),
    min_cost: positive(search.min_cost),
    min_ms: positive(search.min_ms),
  });
}

export function readTracesSearch(search: Params): TracesSearch {
  const page = Math.floor(positive(search.page) ?? 1);
  return defined({
    ...readRange(search),
    ...readFilter(search),
    page: page > 1 ? page : undefined,
    live: search.live === "1" || search.live === true || search.live === "true" ? true : undefined,
  });
}

export function readTraceSearch(search: Params): TraceSearch {
  return defined({ ...readRange(search), ...readFilter(search), span: text(search.span) });
}

export const DASHBOARD_BY = ["agent", "user", "tenant", "model", "provider"] as const;
export type CostBy = (typeof DASHBOARD_BY)[number];
export type DashboardSearch = RangeSearch & { by?: CostBy };

export function readDashboardSearch(search: Params): DashboardSearch {
  const by = DASHBOARD_BY.find((it) => it === search.by);
  return defined({ ...readRange(search), by: by === "agent" ? undefined : by });
}

/** A page inside luner to go to after signing in; never another site. */
export function readNext(search: Params): { next?: string } {
  const next = text(search.next);
  return next && /^\/(?![/\\])/.test(next) ? { next } : {};
}

/** What someone pasted as a trace id: 32 hex digits, bare or within a traceparent. */
export function traceIdIn(pasted: string): string | null {
  const found = /(?:^|[^0-9a-f])([0-9a-f]{32})(?:$|[^0-9a-f])/i.exec(pasted.trim());
  const id = found?.[1]?.toLowerCase();
  return id && !/^0+$/.test(id) ? id : null;
}
