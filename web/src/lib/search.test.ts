import { describe, expect, it } from "vitest";
import {
  applyChange,
  parseSearch,
  readDashboardSearch,
  readNext,
  readTraceSearch,
  readTracesSearch,
  setUnnamed,
  stringifySearch,
  type TraceFilter,
  traceIdIn,
} from "./search";

const ID = "4bf92f3577b34da6a3ce929d0e0e4736";

describe("search parameters", () => {
  it("survive being written and read again", () => {
    const search = {
      range: "7d",
      q: "a&b=c #?",
      user_id: '<img src=x onerror="1">',
      agent_name: "עברית 🌕",
      status: "200",
      min_cost: 0.01,
      min_ms: 250,
      page: 3,
      live: true,
    } as const;
    expect(readTracesSearch(parseSearch(stringifySearch(search)))).toEqual(search);
  });

  it("ask for a name or for none, never for both", () => {
    const named: TraceFilter = { user_id: "ana" };
    const empty = applyChange(named, setUnnamed(named, "user_id", true));
    expect(empty).toEqual({ unnamed: "user_id" });
    const both = applyChange(empty, setUnnamed(empty, "tenant_id", true));
    expect(both.unnamed).toBe("user_id,tenant_id");
    expect(applyChange(both, { user_id: "ben" })).toEqual({ user_id: "ben", unnamed: "tenant_id" });
    expect(readTracesSearch({ unnamed: "model,tenant_id,x" })).toEqual({ unnamed: "tenant_id" });
  });

  it("keep a status code as text", () => {
    expect(readTracesSearch(parseSearch("?status=502"))).toEqual({ status: "502" });
  });

  it("drop invalid values", () => {
    expect(
      readTracesSearch({ page: "-3", min_ms: "soon", min_cost: "0", q: "", live: "0", range: "1y", nonsense: "x" }),
    ).toEqual({});
    expect(readTracesSearch({ page: "1" })).toEqual({});
    expect(readTracesSearch({ page: "2.7" })).toEqual({ page: 2 });
  });

  it("are cut at the longest accepted length", () => {
    expect(readTracesSearch({ q: "x".repeat(9_999) }).q).toHaveLength(512);
  });

  it("omit unset values when written", () => {
    expect(stringifySearch({ q: undefined, status: "", page: null })).toBe("");
  });

  it("of a trace have a span and no page", () => {
    expect(readTraceSearch({ span: "00f067aa0ba902b7", page: "4", user_id: "ada" })).toEqual({
      span: "00f067aa0ba902b7",
      user_id: "ada",
    });
  });

  it("of the dashboard omit the default grouping", () => {
    expect(readDashboardSearch({ by: "agent" })).toEqual({});
    expect(readDashboardSearch({ by: "model" })).toEqual({ by: "model" });
    expect(readDashboardSearch({ by: "nobody" })).toEqual({});
  });
});

describe("pasted text", () => {
  it.each([
    [ID, ID],
    [` ${ID.toUpperCase()}\n`, ID],
    [`00-${ID}-00f067aa0ba902b7-01`, ID],
    [`http://localhost:8080/traces/${ID}?span=1`, ID],
    [ID.slice(1), null],
    [`${ID}0`, null],
    ["0".repeat(32), null],
    ["", null],
  ])("%j yields the trace ID %s", (pasted, id) => expect(traceIdIn(pasted)).toBe(id));
});

describe("page after signing in", () => {
  it.each(["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", ""])(
    "is not %j",
    (next) => expect(readNext({ next })).toEqual({}),
  );
  it("is a page of the console", () => expect(readNext({ next: "/traces?q=x" })).toEqual({ next: "/traces?q=x" }));
});
