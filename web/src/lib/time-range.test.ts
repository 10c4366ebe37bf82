import { describe, expect, it } from "vitest";
import { localInput, period, periodQuery, readRange, stepSeconds } from "./time-range";

const NOW = new Date("2026-01-31T12:00:00Z");

describe("a period", () => {
  it("ends now unless two points in time are given", () => {
    expect(periodQuery({ range: "1h" }, NOW)).toEqual({
      from: "2026-01-31T11:00:00.000Z",
      to: "2026-01-31T12:00:00.000Z",
    });
    expect(periodQuery({}, NOW).from).toBe("2026-01-30T12:00:00.000Z");
    expect(periodQuery({ from: "2026-01-01T00:00:00.000Z", to: "2026-01-02T00:00:00.000Z" }, NOW).to).toBe(
      "2026-01-02T00:00:00.000Z",
    );
  });

  it("is ignored when its ends are invalid or reversed", () => {
    expect(readRange({ from: "2026-01-02", to: "2026-01-01" })).toEqual({});
    expect(readRange({ from: "2026-01-02", to: "x" })).toEqual({});
    expect(readRange({ from: "2026-01-02" })).toEqual({});
    expect(readRange({ range: "24h" })).toEqual({});
    expect(readRange({ range: "toString" })).toEqual({});
  });

  it.each([
    ["15m", 60],
    ["1h", 60],
    ["6h", 300],
    ["24h", 900],
    ["7d", 10_800],
    ["30d", 86_400],
  ] as const)("of %s uses steps of %i s", (range, step) => expect(stepSeconds(period({ range }, NOW))).toBe(step));

  it("is edited in the browser's time zone", () => {
    const at = new Date(2026, 0, 31, 9, 5);
    expect(localInput(at)).toBe("2026-01-31T09:05");
  });
});
