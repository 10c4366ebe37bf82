// What is filtered, as a file: fetched page by page, bounded, and said so where the bound was met.
import { get, type Schemas } from "@/api/client";
import { filterQuery } from "@/api/queries";
import { csv, download } from "@/lib/csv";
import type { TracesSearch } from "@/lib/search";
import { periodQuery } from "@/lib/time-range";

type Item = Schemas["TraceItem"];
/** The largest page that the API gives. */
const PAGE = 200;
/** More is a job for the API, not for a tab. Arbitrary. */
export const ROWS_MAX = 20_000;

const HEADER = [
  "trace_id",
  "started_at",
  "duration_ms",
  "agent_name",
  "user_id",
  "tenant_id",
  "endpoint",
  "model_asked",
  "model",
  "provider",
  "status",
  "outcome",
  "refusal",
  "stream",
  "requests",
  "prompt_tokens",
  "completion_tokens",
  "total_tokens",
  "cost_usd",
  "saved_usd",
  "cache",
  "policies",
];

export function asCsv(items: Item[]): string {
  const rows = items.map((it) => [
    it.trace_id,
    it.started_at,
    it.duration_ms,
    it.agent_name,
    it.user_id,
    it.tenant_id,
    it.endpoint,
    it.model_asked,
    it.model,
    it.provider,
    it.status,
    it.outcome,
    it.refusal?.code,
    it.stream,
    it.requests,
    it.tokens.prompt,
    it.tokens.completion,
    it.tokens.total,
    it.cost_usd,
    it.saved_usd,
    it.cache,
    it.policies.map((policy) => policy.name).join("; "),
  ]);
  return csv(HEADER, rows);
}

/** All that pass the filter, the newest first; `told` hears how far it is. */
export async function collect(
  search: TracesSearch,
  told: (have: number, total: number) => void,
): Promise<{ items: Item[]; total: number }> {
  // Fixed for all pages, so that requests that come meanwhile move nothing.
  const query = { ...filterQuery(search), ...periodQuery(search), page_size: PAGE };
  const items: Item[] = [];
  for (let page = 1; ; page += 1) {
    const answer = await get("/api/traces", { query: { ...query, page } });
    items.push(...answer.items);
    told(items.length, Math.min(answer.total, ROWS_MAX));
    if (answer.items.length === 0 || items.length >= Math.min(answer.total, ROWS_MAX))
      return { items: items.slice(0, ROWS_MAX), total: answer.total };
  }
}

export function save(items: Item[], format: "csv" | "json", now = new Date()) {
  const name = `luner-traces-${now.toISOString().slice(0, 19).replaceAll(":", "")}.${format}`;
  if (format === "csv") download(name, "text/csv", asCsv(items));
  else download(name, "application/json", JSON.stringify(items, null, 2));
}
