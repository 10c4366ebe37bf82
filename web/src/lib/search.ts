// The URL parameters of each page. Values are plain text, so people can read and write addresses by hand.
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
  unnamed: "Not set",
  q: "Search",
  min_cost: "Min. cost",
  min_ms: "Min. duration",
} as const;

export type TraceFilter = {
  q?: string;
  agent_name?: string;
  user_id?: string;
  tenant_id?: string;
  model?: string;
  provider?: string;
  status?: string;
  /** The ID of a policy that matched. */
  policy?: string;
  /** The fields of {@link IDENTITY_FIELDS} that must be empty, separated by commas. */
  unnamed?: string;
  min_cost?: number;
  min_ms?: number;
};
export type FilterName = keyof TraceFilter;
export type TracesSearch = RangeSearch & TraceFilter & { page?: number; live?: boolean };
export type TraceSearch = RangeSearch & TraceFilter & { span?: string };

/** Longest value, in characters. Arbitrary: the gateway accepts names of up to 256 bytes. */
const TEXT_MAX = 512;

function readText(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value.slice(0, TEXT_MAX) : undefined;
}

function readPositive(value: unknown): number | undefined {
  const number =
    typeof value === "number" ? value : typeof value === "string" && value !== "" ? Number(value) : Number.NaN;
  return Number.isFinite(number) && number > 0 ? number : undefined;
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, it]) => it !== undefined)) as T;
}

export function readFilter(search: Params): TraceFilter {
  return withoutUndefined({
    q: readText(search.q),
    agent_name: readText(search.agent_name),
    user_id: readText(search.user_id),
    tenant_id: readText(search.tenant_id),
    model: readText(search.model),
    provider: readText(search.provider),
    status: readText(search.status),
    policy: readText(search.policy),
    unnamed: unnamedFields({ unnamed: readText(search.unnamed) }).join(",") || undefined,
    min_cost: readPositive(search.min_cost),
    min_ms: readPositive(search.min_ms),
  });
}

/** The identity fields that a request may leave empty. */
export const IDENTITY_FIELDS = ["agent_name", "user_id", "tenant_id"] as const;
export type IdentityField = (typeof IDENTITY_FIELDS)[number];

/** The identity fields that must be empty. */
export function unnamedFields({ unnamed = "" }: TraceFilter): IdentityField[] {
  const wanted = unnamed.split(",");
  return IDENTITY_FIELDS.filter((name) => wanted.includes(name));
}

/** The filter change that requires a field to be empty, or stops requiring it. */
export function setUnnamed(filter: TraceFilter, name: IdentityField, required: boolean): Partial<TraceFilter> {
  const others = unnamedFields(filter).filter((it) => it !== name);
  const all = IDENTITY_FIELDS.filter((it) => others.includes(it) || (required && it === name));
  return { unnamed: all.join(",") || undefined, ...(required ? { [name]: undefined } : {}) };
}

/** Applies a change to a filter. A field that now has a value is no longer required to be empty. */
export function applyChange<T extends TraceFilter>(filter: T, change: Partial<TraceFilter>): T {
  const asked = IDENTITY_FIELDS.filter((name) => change[name]);
  const left = unnamedFields({ ...filter, ...change }).filter((name) => !asked.includes(name));
  return { ...filter, ...change, unnamed: left.join(",") || undefined };
}

export function readTracesSearch(search: Params): TracesSearch {
  const page = Math.floor(readPositive(search.page) ?? 1);
  return withoutUndefined({
    ...readRange(search),
    ...readFilter(search),
    page: page > 1 ? page : undefined,
    live: search.live === "1" || search.live === true || search.live === "true" ? true : undefined,
  });
}

export function readTraceSearch(search: Params): TraceSearch {
  return withoutUndefined({ ...readRange(search), ...readFilter(search), span: readText(search.span) });
}

export const DASHBOARD_BY = ["agent", "user", "tenant", "model", "provider"] as const;
export type CostBy = (typeof DASHBOARD_BY)[number];
export type DashboardSearch = RangeSearch & { by?: CostBy };

export function readDashboardSearch(search: Params): DashboardSearch {
  const by = DASHBOARD_BY.find((it) => it === search.by);
  return withoutUndefined({ ...readRange(search), by: by === "agent" ? undefined : by });
}

/** The page to open after signing in. Ignores other sites. */
export function readNext(search: Params): { next?: string } {
  const next = readText(search.next);
  return next && /^\/(?![/\\])/.test(next) ? { next } : {};
}

/** Finds a trace ID in pasted text: 32 hex digits, alone or in a traceparent or URL. Returns null if there is none. */
export function traceIdIn(pasted: string): string | null {
  const found = /(?:^|[^0-9a-f])([0-9a-f]{32})(?:$|[^0-9a-f])/i.exec(pasted.trim());
  const id = found?.[1]?.toLowerCase();
  return id && !/^0+$/.test(id) ? id : null;
}
