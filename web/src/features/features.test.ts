import { describe, expect, it } from "vitest";
import type { Schemas } from "@/api/client";
import { rateBetween } from "./dashboard/cache-panel";
import { NEW, sendable } from "./policies/changes";
import { typedValue } from "./policies/try-panel";
import { lines } from "./settings/config-tree";
import { pretty } from "./trace/request-panel";
import { prepended, ROWS_MAX, reduce } from "./traces/use-tail";

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
  tokens: { prompt: 1, completion: 2, total: 3, cached: 0, reasoning: 0 },
  cost_usd: 0,
  saved_usd: 0,
  cache: "MISS",
  policies: [],
  ...more,
});

describe("the live tail", () => {
  it("has the newest on top and each trace once", () => {
    const list = prepended([item("c"), item("d"), item("a", { requests: 2 })], [item("b"), item("a")]);
    expect(list.map((it) => it.trace_id)).toEqual(["a", "d", "c", "b"]);
    expect(list[0]?.requests).toBe(2);
  });

  it("is bounded", () => {
    const many = Array.from({ length: 3 * ROWS_MAX }, (_, index) => item(`${index}`));
    const list = prepended(many, many);
    expect(list).toHaveLength(ROWS_MAX);
    expect(list[0]?.trace_id).toBe(`${3 * ROWS_MAX - 1}`);
  });

  it("remembers that some are missing, paused or not, until it begins anew", () => {
    const beat = { fresh: [], came: 0, dropped: 0, gap: false, connected: true, paused: false };
    const fresh = reduce({ rows: [], waiting: 0, dropped: 0, gap: false, connected: false }, beat);
    expect(fresh.gap).toBe(false);
    const missed = reduce(fresh, { ...beat, gap: true, paused: true });
    expect(missed.gap).toBe(true);
    expect(reduce(missed, beat).gap).toBe(true);
    expect(reduce(missed, "reset").gap).toBe(false);
  });
});

describe("the hit rate of the moment", () => {
  const live = (hits: number, misses: number) =>
    ({ cache: { hits, misses, hit_rate: 0.5, evictions: 0, size: 0, max_items: 1 } }) as Schemas["Live"];
  it("is that between two samples", () => expect(rateBetween(live(10, 10), live(13, 11))).toBe(0.75));
  it("is that since the start for the first", () => expect(rateBetween(null, live(1, 1))).toBe(0.5));
  it("is unknown when nothing was asked, or the gateway was restarted", () => {
    expect(rateBetween(live(10, 10), live(10, 10))).toBeNull();
    expect(rateBetween(live(10, 10), live(2, 20))).toBeNull();
  });
});

describe("a policy as it is sent", () => {
  it("leaves out what belongs to another action", () => {
    const draft = { ...NEW, name: " n ", target_model: "small", message: "no" };
    expect(sendable({ ...draft, action: "alert" })).toMatchObject({ name: "n", target_model: null, message: null });
    expect(sendable({ ...draft, action: "block" })).toMatchObject({ target_model: null, message: "no" });
    expect(sendable({ ...draft, action: "downgrade", target_model: " " })).toMatchObject({
      target_model: null,
      message: null,
    });
  });

  it("begins as one that only watches", () => expect(NEW.mode).toBe("shadow"));
});

describe("a value that is tried", () => {
  it("has the type of its variable, or stays the text that it is", () => {
    expect(typedValue("double", "1.5")).toBe(1.5);
    expect(typedValue("int", "x")).toBe("x");
    expect(typedValue("bool", "true")).toBe(true);
    expect(typedValue("bool", "yes")).toBe("yes");
    expect(typedValue("string", "5")).toBe("5");
  });
});

describe("the configuration", () => {
  it("is shown by lines, lists of parts by their names", () => {
    const config = { enabled: true, providers: [{ name: "openai", qps: 5, downgrade: {} }], models: ["a", "b"] };
    expect(
      lines(config, "x").map(
        (it) => `${"  ".repeat(it.depth)}${it.name}${it.value === undefined ? "" : `=${it.value}`}`,
      ),
    ).toEqual(["enabled=true", "providers", "  openai", "    qps=5", "    downgrade=none", "models=a, b"]);
  });
});

describe("a stored body", () => {
  it("is indented where it is JSON, and else as it came", () => {
    expect(pretty('{"a":1}')).toBe('{\n  "a": 1\n}');
    expect(pretty('data: {"a":')).toBe('data: {"a":');
  });
});
