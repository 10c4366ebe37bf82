// The queries of all pages: their keys, how long an answer stays fresh, and how often each is refetched.
import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import type { CostBy, TraceFilter, TracesSearch } from "@/lib/search";
import { isRelative, period, periodQuery, type RangeSearch, stepSeconds } from "@/lib/time-range";
import { ApiError, get, post, type Schemas } from "./client";
import type { paths } from "./schema";

export const PAGE_SIZE = 50;
const LIVE_MS = 5_000;
/** The gateway writes a request within a second. Four retries, half a second apart, cover that. */
const TRACE_RETRIES_MAX = 4;
/** Refetches after that, 15 seconds in all, in case the disk is slow. Arbitrary. */
const TRACE_REFETCHES_MAX = 3;
const DASHBOARD_MS = 30_000;

type SeriesQuery = NonNullable<paths["/api/dashboard/series"]["get"]["parameters"]["query"]>;
export type MetricName = NonNullable<SeriesQuery["metric"]>;

/** A fixed period is not refetched: little changes in the past. */
const refetchWhileRelative = (range: RangeSearch, ms: number) => (isRelative(range) ? ms : (false as const));

export const health = () =>
  queryOptions({
    queryKey: ["health"],
    queryFn: ({ signal }) => get("/api/health", { signal }),
    refetchInterval: 15_000,
  });

/** Whether a sign-in is needed. Changes only with the configuration. */
export const signInState = () =>
  queryOptions({
    queryKey: ["session"],
    queryFn: ({ signal }) => get("/api/session", { signal }),
    staleTime: 60_000,
    retry: false,
  });

export const live = () =>
  queryOptions({
    queryKey: ["live"],
    queryFn: ({ signal }) => get("/api/metrics/live", { signal }),
    refetchInterval: LIVE_MS,
  });

export const summary = (range: RangeSearch) =>
  queryOptions({
    queryKey: ["summary", range],
    queryFn: ({ signal }) => get("/api/dashboard/summary", { query: periodQuery(range), signal }),
    refetchInterval: refetchWhileRelative(range, DASHBOARD_MS),
    placeholderData: keepPreviousData,
  });

export const series = (metric: MetricName, range: RangeSearch) =>
  queryOptions({
    queryKey: ["series", metric, range],
    queryFn: ({ signal }) =>
      get("/api/dashboard/series", {
        query: { metric, step: stepSeconds(period(range)), ...periodQuery(range) },
        signal,
      }),
    refetchInterval: refetchWhileRelative(range, DASHBOARD_MS),
    placeholderData: keepPreviousData,
  });

export const cost = (by: CostBy, range: RangeSearch) =>
  queryOptions({
    queryKey: ["cost", by, range],
    queryFn: ({ signal }) => get("/api/dashboard/cost", { query: { by, ...periodQuery(range) }, signal }),
    refetchInterval: refetchWhileRelative(range, DASHBOARD_MS),
    placeholderData: keepPreviousData,
  });

/** The filter as the API takes it, without the page's own parameters. */
export function filterQuery(search: RangeSearch & TraceFilter) {
  const { q, agent_name, user_id, tenant_id, model, provider, status, policy, unnamed, min_cost, min_ms } = search;
  return { q, agent_name, user_id, tenant_id, model, provider, status, policy, unnamed, min_cost, min_ms };
}

export const traces = (search: TracesSearch) =>
  queryOptions({
    queryKey: ["traces", search],
    queryFn: ({ signal }) =>
      get("/api/traces", {
        query: { page: search.page ?? 1, page_size: PAGE_SIZE, ...filterQuery(search), ...periodQuery(search) },
        signal,
      }),
    placeholderData: keepPreviousData,
  });

export const facets = (search: RangeSearch & TraceFilter) =>
  queryOptions({
    queryKey: ["facets", filterQuery(search), search.range, search.from, search.to],
    queryFn: ({ signal }) =>
      get("/api/traces/facets", { query: { ...filterQuery(search), ...periodQuery(search) }, signal }),
    placeholderData: keepPreviousData,
    staleTime: 20_000,
  });

export const trace = (id: string, search: RangeSearch & TraceFilter) =>
  queryOptions({
    queryKey: ["trace", id, filterQuery(search)],
    queryFn: ({ signal }) =>
      get("/api/traces/{trace_id}", {
        params: { trace_id: id },
        query: { ...filterQuery(search), ...periodQuery(search) },
        signal,
      }),
    staleTime: 60_000,
    // A click in the live tail can open a trace before it is written.
    retry: (failures, error) =>
      error instanceof ApiError && (error.status === 404 || error.isTransient) && failures < TRACE_RETRIES_MAX,
    retryDelay: 500,
    // With a slow disk it takes longer, and the page must not keep saying that the trace is not stored.
    refetchInterval: ({ state }) =>
      state.error instanceof ApiError && state.error.status === 404 && state.errorUpdateCount < TRACE_REFETCHES_MAX
        ? LIVE_MS
        : false,
  });

export const policies = () =>
  queryOptions({
    queryKey: ["policies"],
    queryFn: ({ signal }) => get("/api/policies", { signal }),
    refetchInterval: 30_000,
  });

export const policy = (id: string) =>
  queryOptions({
    queryKey: ["policies", id],
    queryFn: ({ signal }) => get("/api/policies/{id}", { params: { id }, signal }),
  });

/** Changes only with the gateway's version. */
export const policyLanguage = () =>
  queryOptions({
    queryKey: ["policy-language"],
    queryFn: ({ signal }) => get("/api/policies/language", { signal }),
    staleTime: Number.POSITIVE_INFINITY,
  });

export type Draft = Required<Schemas["PolicyDraft"]>;

/** Checks an expression while someone types, and tries it. A mistake is an ApiError with details. */
export const verdict = (trial: Schemas["PolicyTrial"]) =>
  queryOptions({
    queryKey: ["verdict", trial],
    queryFn: async ({ signal }) => (await post("/api/policies/test", { body: trial, signal })) as Schemas["Verdict"],
    retry: false,
    staleTime: 30_000,
  });

export const replay = (trial: Schemas["PolicyTrial"]) =>
  queryOptions({
    queryKey: ["replay", trial],
    queryFn: async ({ signal }) => (await post("/api/policies/test", { body: trial, signal })) as Schemas["Replay"],
    retry: false,
    staleTime: 30_000,
    placeholderData: keepPreviousData,
  });

export const audit = (page: number) =>
  queryOptions({
    queryKey: ["audit", page],
    queryFn: ({ signal }) => get("/api/audit", { query: { page, page_size: PAGE_SIZE }, signal }),
    placeholderData: keepPreviousData,
  });

export const config = () =>
  queryOptions({
    queryKey: ["config"],
    queryFn: ({ signal }) => get("/api/config", { signal }),
    refetchInterval: 15_000,
  });

export const providers = () =>
  queryOptions({
    queryKey: ["providers"],
    queryFn: ({ signal }) => get("/api/providers", { signal }),
    refetchInterval: LIVE_MS,
  });
