import { describe, expect, it } from "vitest";
import { rangeAt, word, words } from "./cel";

const VARIABLES = ["model", "cost_usd", "agent"].map((name) => ({ name }));

const kinds = (text: string) =>
  words(text, VARIABLES)
    .filter((it) => it.kind)
    .map((it) => `${it.kind}:${it.text}`);

describe("words of an expression", () => {
  it("have their kinds", () => {
    expect(kinds("cost_usd > 1.5 && agent.startsWith('x')")).toEqual([
      "variable:cost_usd",
      "operator:>",
      "number:1.5",
      "operator:&&",
      "variable:agent",
      "operator:.",
      "method:startsWith",
      "bracket:(",
      "string:'x'",
      "bracket:)",
    ]);
    expect(kinds("true in [nope, 0x1f, 2e-3]")).toEqual([
      "keyword:true",
      "keyword:in",
      "bracket:[",
      "name:nope",
      "operator:,",
      "number:0x1f",
      "operator:,",
      "number:2e-3",
      "bracket:]",
    ]);
    expect(kinds("model // why")).toEqual(["variable:model", "comment:// why"]);
    expect(kinds("a § b")).toContain("wrong:§");
  });

  it("keep escaped quotes, and run an unclosed string to the end of the line", () => {
    expect(kinds(`"a \\" b" == 'x`)).toEqual([`string:"a \\" b"`, "operator:==", "string:'x"]);
  });

  it("always end after they start, whatever the text", () => {
    for (const text of ["\u0000", "🌕", "'", '"\\', "&", "|", "..", "\u202e", "a".repeat(5_000)]) {
      for (let at = 0; at < text.length; ) {
        const { end } = word(text, at);
        expect(end).toBeGreaterThan(at);
        at = end;
      }
    }
  });

  it("join to the text with single spaces", () => {
    expect(
      words("  a  &&\n b ")
        .map((it) => it.text)
        .join(""),
    ).toBe("a && b");
  });
});

describe("range of a mistake", () => {
  it("is the word at the reported position", () => {
    const text = "true &&\n  costs > 1";
    const { from, to } = rangeAt(text, { line: 2, column: 3 });
    expect(text.slice(from, to)).toBe("costs");
  });

  it("counts characters, not UTF-16 units, in the position", () => {
    const text = "'🌕🌕' == modl";
    const { from, to } = rangeAt(text, { line: 1, column: 9 });
    expect(text.slice(from, to)).toBe("modl");
  });

  it("is the last character when the position is at the end", () => {
    expect(rangeAt("1 +", { line: 1, column: 4 })).toEqual({ from: 2, to: 3 });
    expect(rangeAt("", { line: 1, column: 1 })).toEqual({ from: 0, to: 0 });
    expect(rangeAt("x", { line: 9, column: 99 })).toEqual({ from: 0, to: 1 });
  });
});
