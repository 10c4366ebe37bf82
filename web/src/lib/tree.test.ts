import { describe, expect, it } from "vitest";
import { extent, findSpan, rows, ruler, type SpanLike } from "./tree";

interface Span extends SpanLike<Span> {}
const span = (id: string, start_ms: number, duration_ms: number, children: Span[] = []): Span => ({
  id,
  start_ms,
  duration_ms,
  children,
});
const TREE = [span("root", 0, 100, [span("late", 50, 50, [span("leaf", 60, 20)]), span("early", 10, 20)])];

describe("waterfall", () => {
  it("orders spans by start within each parent, with depths", () => {
    expect(rows(TREE, new Set()).map((row) => `${row.span.id}@${row.depth}`)).toEqual([
      "root@0",
      "early@1",
      "late@1",
      "leaf@2",
    ]);
  });

  it("places spans as shares of the whole duration", () => {
    const leaf = rows(TREE, new Set()).find((row) => row.span.id === "leaf");
    expect(leaf).toMatchObject({ left: 0.6, width: 0.2 });
  });

  it("hides the children of folded spans", () => {
    const list = rows(TREE, new Set(["late", "leaf"]));
    expect(list.map((row) => row.span.id)).toEqual(["root", "early", "late"]);
    expect(list.map((row) => row.folded)).toEqual([false, false, true]);
  });

  it("stays within bounds when spans have impossible times", () => {
    const odd = [span("a", -5, 3), span("b", 0, 0), span("c", 90, 50)];
    for (const row of rows(odd, new Set())) {
      expect(row.left).toBeGreaterThanOrEqual(0);
      expect(row.left + row.width).toBeLessThanOrEqual(1);
    }
    expect(extent([])).toBe(0);
    expect(rows([span("only", 0, 0)], new Set())).toHaveLength(1);
  });

  it("finds a span at any depth", () => {
    expect(findSpan(TREE, "leaf")?.id).toBe("leaf");
    expect(findSpan(TREE, "gone")).toBeNull();
  });
});

describe("time axis", () => {
  it.each([
    [100, [0, 25, 50, 75, 100]],
    [5910, [0, 2000, 4000]],
    [1, [0, 0.25, 0.5, 0.75, 1]],
    [0, [0]],
  ])("of %s ms has round marks", (whole, marks) => expect(ruler(whole)).toEqual(marks));

  it("has at most five marks", () => {
    for (let whole = 0.001; whole < 1e6; whole *= 1.37) expect(ruler(whole).length).toBeLessThanOrEqual(5);
  });
});
