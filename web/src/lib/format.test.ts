import { describe, expect, it } from "vitest";
import {
  ago,
  axisTime,
  change,
  compact,
  count,
  duration,
  longDuration,
  percent,
  plural,
  time,
  trimZeros,
  usd,
} from "./format";

describe("dollars", () => {
  it.each([
    [0, "$0"],
    [0.000_000_2, "<$0.000001"],
    [0.000_042, "$0.000042"],
    [0.000_604, "$0.000604"],
    [0.0042, "$0.00420"],
    [0.0843, "$0.0843"],
    [0.797, "$0.797"],
    [1, "$1.00"],
    [1204.5, "$1,204.50"],
    [250_000, "$250K"],
    [-2.5, "−$2.50"],
    [null, "–"],
    [Number.NaN, "–"],
  ])("%s reads %s", (value, text) => expect(usd(value)).toBe(text));
});

describe("durations", () => {
  it.each([
    [0, "0 ms"],
    [0.0004, "<1 µs"],
    [0.004, "4 µs"],
    [0.42, "0.42 ms"],
    [4.2, "4.2 ms"],
    [9.96, "10 ms"],
    [419.6, "420 ms"],
    [999.6, "1.00 s"],
    [1240, "1.24 s"],
    [17_940, "17.9 s"],
    [125_000, "2 min 5 s"],
    [undefined, "–"],
  ])("%s ms reads %s", (value, text) => expect(duration(value)).toBe(text));

  it("use the two largest units", () => {
    expect(longDuration(93_784)).toBe("1 d 2 h");
    expect(longDuration(86_400)).toBe("1 d");
    expect(longDuration(0)).toBe("0 s");
  });
});

describe("numbers", () => {
  it("are whole below a hundred thousand, then compact", () => {
    expect(compact(99_999)).toBe("99,999");
    expect(compact(161_204)).toBe("161K");
    expect(count(1_234_567)).toBe("1,234,567");
    expect(plural(1, "match", "matches")).toBe("1 match");
    expect(plural(2, "match", "matches")).toBe("2 matches");
  });

  it("as percentages never round to 0% or 100%", () => {
    expect(percent(0.00001)).toBe("<0.01%");
    expect(percent(0.0004)).toBe("0.04%");
    expect(percent(0.024)).toBe("2.4%");
    expect(percent(0.9992)).toBe("99.9%");
    expect(percent(1)).toBe("100%");
    expect(percent(0)).toBe("0%");
  });

  it("on an axis have no trailing zeros", () => {
    expect(trimZeros("30.0 s")).toBe("30 s");
    expect(trimZeros("$0.800")).toBe("$0.8");
    expect(trimZeros("1.25 s")).toBe("1.25 s");
    expect(trimZeros("200 ms")).toBe("200 ms");
    expect(trimZeros("$1,000.00")).toBe("$1,000");
  });
});

describe("a change", () => {
  it("has a direction and a size", () => {
    expect(change(110, 100)).toEqual({ text: "+10%", direction: "up" });
    expect(change(97.5, 100)).toEqual({ text: "−2.5%", direction: "down" });
    expect(change(100, 100)).toEqual({ text: "0%", direction: "same" });
    expect(change(2000, 100)).toEqual({ text: "+20×", direction: "up" });
    expect(change(1756, 1)).toBeNull();
  });

  it("is null when there was nothing before", () => {
    expect(change(5, 0)).toBeNull();
    expect(change(null, 5)).toBeNull();
  });
});

describe("times", () => {
  const now = new Date(2026, 0, 31, 14, 0, 0);
  it("of today omit the day", () => expect(time(new Date(2026, 0, 31, 9, 5, 7), now)).toBe("09:05:07"));
  it("of another day include it", () => expect(time(new Date(2026, 0, 30, 9, 5, 7), now)).toBe("Jan 30 09:05:07"));
  it("that are invalid are shown as missing", () => expect(time("soon")).toBe("–"));
  it("are shown relative to now", () => {
    expect(ago(now.getTime() - 3_000, now.getTime())).toBe("just now");
    expect(ago(now.getTime() - 12 * 60_000, now.getTime())).toBe("12 min ago");
    expect(ago(now.getTime() - 5 * 86_400_000, now.getTime())).toBe("5 d ago");
  });
  it("on an axis are hours, or days at midnight", () => {
    expect(axisTime(new Date(2026, 0, 31, 9, 0), 900)).toBe("09:00");
    expect(axisTime(new Date(2026, 0, 31, 0, 0), 900)).toBe("Jan 31");
    expect(axisTime(new Date(2026, 0, 31, 9, 0), 86_400)).toBe("Jan 31");
  });
});
