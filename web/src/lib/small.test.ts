import { describe, expect, it } from "vitest";
import { differences, valueAt, valueText } from "./changes";
import { curl, shellQuote } from "./curl";
import { isTyping, keyName } from "./keys";
import { stacked, sum } from "./stack";

describe("curl", () => {
  it("escapes quotes for the shell", () => {
    expect(shellQuote("it's; rm -rf / $(x) `y`")).toBe(`'it'\\''s; rm -rf / $(x) \`y\`'`);
  });

  it("uses a placeholder for the key and omits empty headers", () => {
    const command = curl({
      url: "http://h/v1/chat/completions",
      body: '{"model":"m"}',
      model: "m",
      headers: { "X-Luner-User": "ada", "X-Luner-Agent": "" },
    });
    expect(command).toContain("Bearer $OPENAI_API_KEY");
    expect(command).toContain("'X-Luner-User: ada'");
    expect(command).not.toContain("X-Luner-Agent");
  });

  it("invents a body when none is stored", () => {
    expect(curl({ url: "u", body: null, model: "m", headers: {} })).toContain('"model":"m"');
  });
});

describe("differences", () => {
  it("list the changed leaves by path", () => {
    const before = { a: { b: 1, c: [1, 2] }, d: "x" };
    const after = { a: { b: 2, c: [1, 2] }, e: null };
    expect(differences(before, after)).toEqual([
      { path: "a.b", before: 1, after: 2 },
      { path: "d", before: "x", after: undefined },
      { path: "e", before: undefined, after: null },
    ]);
  });

  it("of a created or deleted value list all of it", () => {
    expect(differences(null, { a: 1 })).toEqual([{ path: "a", before: undefined, after: 1 }]);
    expect(differences({ a: 1 }, null)).toEqual([{ path: "a", before: 1, after: undefined }]);
  });

  it("are found by the paths that the gateway reports", () => {
    const config = { providers: [{ name: "a" }, { name: "b", limits: { qps: 5 } }] };
    expect(valueAt(config, "providers[1].limits.qps")).toBe(5);
    expect(valueAt(config, "providers[7].name")).toBeUndefined();
    expect(valueAt(config, "constructor.name")).toBeUndefined();
    expect(valueAt(config, "")).toBe(config);
  });

  it("distinguish missing, null and empty values", () => {
    expect([undefined, null, "", "x", false, ["a"]].map(valueText)).toEqual([
      "not set",
      "none",
      "empty",
      "x",
      "false",
      '["a"]',
    ]);
  });
});

describe("stacked series", () => {
  it("add up from below and count gaps as zero", () => {
    expect(
      stacked([
        [1, null, 3],
        [10, 20, null],
      ]),
    ).toEqual([
      [1, 0, 3],
      [11, 20, 3],
    ]);
    expect(sum([1, null, 2])).toBe(3);
  });
});

describe("keyboard shortcuts", () => {
  const press = (key: string, more = {}) => keyName({ key, metaKey: false, ctrlKey: false, altKey: false, ...more });
  it("have one name on every system", () => {
    expect(press("K", { metaKey: true })).toBe("mod+k");
    expect(press("k", { ctrlKey: true })).toBe("mod+k");
    expect(press("Escape")).toBe("Escape");
    expect(press("?")).toBe("?");
  });

  it("are ignored while someone types, also in a shadow root", () => {
    const host = document.body.appendChild(document.createElement("div"));
    const input = host.attachShadow({ mode: "open" }).appendChild(document.createElement("textarea"));
    const seen: boolean[] = [];
    document.addEventListener("keydown", (event) => seen.push(isTyping(event)));
    input.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true, composed: true }));
    host.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
    expect(seen).toEqual([true, false]);
  });
});
