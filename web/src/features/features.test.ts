import { describe, expect, it } from "vitest";
import type { Schemas } from "@/api/client";
import { hitRateBetween } from "./dashboard/cache-panel";
import { NEW_DRAFT, requestBody } from "./policies/changes";
import { typedValue } from "./policies/try-panel";
import { configLines } from "./settings/config-tree";
import { indentJson } from "./trace/request-panel";
import { prependRows, ROWS_MAX, tailReducer } from "./traces/use-tail";

const item = (id: string, more: Partial<Schemas["TraceItem"]> = {}): Schemas["TraceItem"] => ({
  trace_id: id,
  started_at: "2026-01-31T12:00:00.000Z",
  duration_ms: 1,
  agent_name: "",
  user_id: "",
  tenant_id: "",
  endpoint: "/v1/chat/completions",
  model: "m",
  model_asked: "m",
  provider: "p",
  status: 200,
  outcome: "ok",
  refusal: null,
  stream: false,
  requests: 1,
  spans: 1,
  tokens: { prompt: 1, completion: 2, total: 3, cached: 0, cache_write: 0, reasoning: 0 },
  cost_usd: 0,
  saved_usd: 0,
  cache: "MISS",
  policies: [],
  ...more,
});

describe("live tail", () => {
  it("shows the newest on top and each trace once", () => {
    const list = prependRows([item("c"), item("d"), item("a", { requests: 2 })], [item("b"), item("a")]);
    expect(list.map((it) => it.trace_id)).toEqual(["a", "d", "c", "b"]);
    expect(list[0]?.requests).toBe(2);
  });

  it("keeps a bounded number of rows", () => {
    const many = Array.from({ length: 3 * ROWS_MAX }, (_, index) => item(`${index}`));
    const list = prependRows(many, many);
    expect(list).toHaveLength(ROWS_MAX);
    expect(list[0]?.trace_id).toBe(`${3 * ROWS_MAX - 1}`);
  });

  it("remembers a gap until it is reset, paused or not", () => {
    const update = { fresh: [], received: 0, dropped: 0, gap: false, connected: true, paused: false };
    const fresh = tailReducer({ rows: [], waiting: 0, dropped: 0, gap: false, connected: false }, update);
    expect(fresh.gap).toBe(false);
    const missed = tailReducer(fresh, { ...update, gap: true, paused: true });
    expect(missed.gap).toBe(true);
    expect(tailReducer(missed, update).gap).toBe(true);
    expect(tailReducer(missed, "reset").gap).toBe(false);
  });
});

describe("current hit rate", () => {
  const live = (hits: number, misses: number) =>
    ({ cache: { hits, misses, hit_rate: 0.5, evictions: 0, size: 0, max_items: 1 } }) as Schemas["Live"];
  it("is the rate between two samples", () => expect(hitRateBetween(live(10, 10), live(13, 11))).toBe(0.75));
  it("is the rate since start for the first sample", () => expect(hitRateBetween(null, live(1, 1))).toBe(0.5));
  it("is null when nothing was looked up, or luner has restarted", () => {
    expect(hitRateBetween(live(10, 10), live(10, 10))).toBeNull();
    expect(hitRateBetween(live(10, 10), live(2, 20))).toBeNull();
  });
});

describe("policy request body", () => {
  it("omits the fields of other actions", () => {
    const draft = { ...NEW_DRAFT, name: " n ", target_model: "small", message: "no" };
    expect(requestBody({ ...draft, action: "alert" })).toMatchObject({ name: "n", target_model: null, message: null });
    expect(requestBody({ ...draft, action: "block" })).toMatchObject({ target_model: null, message: "no" });
    expect(requestBody({ ...draft, action: "downgrade", target_model: " " })).toMatchObject({
      target_model: null,
      message: null,
    });
  });

  it("starts in shadow mode", () => expect(NEW_DRAFT.mode).toBe("shadow"));
});

describe("trial value", () => {
  it("has its variable's type, or stays text if it does not fit", () => {
    expect(typedValue("double", "1.5")).toBe(1.5);
    expect(typedValue("int", "x")).toBe("x");
    expect(typedValue("bool", "true")).toBe(true);
    expect(typedValue("bool", "yes")).toBe("yes");
    expect(typedValue("string", "5")).toBe("5");
  });
});

describe("configuration", () => {
  it("is flattened to lines, with list items under their names", () => {
    const config = { enabled: true, providers: [{ name: "openai", qps: 5, downgrade: {} }], models: ["a", "b"] };
    expect(
      configLines(config, "x").map(
        (it) => `${"  ".repeat(it.depth)}${it.name}${it.value === undefined ? "" : `=${it.value}`}`,
      ),
    ).toEqual(["enabled=true", "providers", "  openai", "    qps=5", "    downgrade=none", "models=a, b"]);
  });
});

describe("stored body", () => {
  it("is indented if it is JSON, and unchanged otherwise", () => {
    expect(indentJson('{"a":1}')).toBe('{\n  "a": 1\n}');
    expect(indentJson('data: {"a":')).toBe('data: {"a":');
  });
});
