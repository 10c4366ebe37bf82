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
  policy: "Matched by",
  unnamed: "Not named",
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
  /** The id of a policy that matched. */
  policy?: string;
  /** Which of [NAMED] must be empty, with commas between. */
  unnamed?: string;
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
    policy: text(search.policy),
    unnamed: unnamedIn({ unnamed: text(search.unnamed) }).join(",") || undefined,
    min_cost: positive(search.min_cost),
    min_ms: positive(search.min_ms),
  });
}

/** What a request may leave out about who sends it. */
export const NAMED = ["agent_name", "user_id", "tenant_id"] as const;
export type Named = (typeof NAMED)[number];

/** Those that must be empty. */
export function unnamedIn({ unnamed = "" }: TraceFilter): Named[] {
  const wanted = unnamed.split(",");
  return NAMED.filter((name) => wanted.includes(name));
}

/** The change after which this name must be empty, or need not be any more. */
export function unnamed(filter: TraceFilter, name: Named, must: boolean): Partial<TraceFilter> {
  const others = unnamedIn(filter).filter((it) => it !== name);
  const all = NAMED.filter((it) => others.includes(it) || (must && it === name));
  return { unnamed: all.join(",") || undefined, ...(must ? { [name]: undefined } : {}) };
}

/** The filter after a change: a name that is asked for need not be empty any more. */
export function changed<T extends TraceFilter>(filter: T, change: Partial<TraceFilter>): T {
  const asked = NAMED.filter((name) => change[name]);
  const left = unnamedIn({ ...filter, ...change }).filter((name) => !asked.includes(name));
  return { ...filter, ...change, unnamed: left.join(",") || undefined };
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
