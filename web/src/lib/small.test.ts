import { describe, expect, it } from "vitest";
import { at, differences, written } from "./changes";
import { curl, quoted } from "./curl";
import { isTyping, keyName } from "./keys";
import { stacked, sum } from "./stack";

describe("curl", () => {
  it("never breaks out of its quotes", () => {
    expect(quoted("it's; rm -rf / $(x) `y`")).toBe(`'it'\\''s; rm -rf / $(x) \`y\`'`);
  });

  it("has a placeholder for the key and no empty headers", () => {
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

  it("makes a body up where none is stored", () => {
    expect(curl({ url: "u", body: null, model: "m", headers: {} })).toContain('"model":"m"');
  });
});

describe("differences", () => {
  it("are the leaves that changed, by path", () => {
    const before = { a: { b: 1, c: [1, 2] }, d: "x" };
    const after = { a: { b: 2, c: [1, 2] }, e: null };
    expect(differences(before, after)).toEqual([
      { path: "a.b", before: 1, after: 2 },
      { path: "d", before: "x", after: undefined },
      { path: "e", before: undefined, after: null },
    ]);
  });

  it("of something made or deleted are all of it", () => {
    expect(differences(null, { a: 1 })).toEqual([{ path: "a", before: undefined, after: 1 }]);
    expect(differences({ a: 1 }, null)).toEqual([{ path: "a", before: 1, after: undefined }]);
  });

  it("are looked up by the paths that the gateway names", () => {
    const config = { providers: [{ name: "a" }, { name: "b", limits: { qps: 5 } }] };
    expect(at(config, "providers[1].limits.qps")).toBe(5);
    expect(at(config, "providers[7].name")).toBeUndefined();
    expect(at(config, "constructor.name")).toBeUndefined();
    expect(at(config, "")).toBe(config);
  });

  it("are written so that nothing looks like something", () => {
    expect([undefined, null, "", "x", false, ["a"]].map(written)).toEqual([
      "not set",
      "none",
      "empty",
      "x",
      "false",
      '["a"]',
    ]);
  });
});

describe("stacks", () => {
  it("sum up from below, and take a gap for nothing", () => {
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

describe("keys", () => {
  const press = (key: string, more = {}) => keyName({ key, metaKey: false, ctrlKey: false, altKey: false, ...more });
  it("have one name on every system", () => {
    expect(press("K", { metaKey: true })).toBe("mod+k");
    expect(press("k", { ctrlKey: true })).toBe("mod+k");
    expect(press("Escape")).toBe("Escape");
    expect(press("?")).toBe("?");
  });

  it("do nothing while someone types, in the page or in a shadow root", () => {
    const host = document.body.appendChild(document.createElement("div"));
    const input = host.attachShadow({ mode: "open" }).appendChild(document.createElement("textarea"));
    const seen: boolean[] = [];
    document.addEventListener("keydown", (event) => seen.push(isTyping(event)));
    input.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true, composed: true }));
    host.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
    expect(seen).toEqual([true, false]);
  });
});
