// Every page, wide and on a phone, dark and light: nothing sticks out, axe finds nothing serious, nothing breaks the
// content security policy, no other host is asked.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { AxeResults } from "axe-core";
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Console, LUNER_URL, PHONE, sticksOut, WIDE } from "./support";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const ONE = new Console();
const BASED = new Console();
const EMPTY = new Console();
beforeAll(() => ONE.start());
afterEach(() => ONE.closePages());
afterAll(() => ONE.stop());

type Visit = { name: string; path: string; ready: string; act?: (page: Page) => Promise<void> };
const PAGES: Visit[] = [
  { name: "dashboard", path: "", ready: "canvas" },
  { name: "traces", path: "traces", ready: "tbody tr" },
  {
    name: "the facets",
    path: "traces",
    ready: "tbody tr",
    act: async (page) => {
      await page.getByRole("button", { name: "Filter" }).click();
      await page.getByText("Cost from, in dollars").waitFor();
    },
  },
  { name: "the live tail", path: "traces?live=1", ready: "tbody tr" },
  {
    name: "a trace",
    path: "traces",
    ready: "tbody tr",
    act: async (page) => {
      await page.locator("tbody tr").first().click();
      await page.getByRole("treeitem").first().waitFor();
    },
  },
  { name: "policies", path: "policies", ready: "h1" },
  {
    name: "the editor",
    path: "policies/new",
    ready: ".cm-content",
    act: async (page) => {
      await page.locator(".cm-content").click();
      await page.keyboard.type("modl == 'x");
      await page.locator(".cm-lintRange-error").waitFor();
    },
  },
  { name: "changes", path: "changes", ready: "summary", act: async (page) => page.locator("summary").first().click() },
  { name: "settings", path: "settings", ready: "dl" },
  { name: "sign-in", path: "sign-in", ready: "input" },
  { name: "nothing", path: "nowhere/at/all", ready: "text=There is nothing here" },
  {
    name: "the palette",
    path: "",
    ready: "canvas",
    act: async (page) => {
      await page.keyboard.press("Control+k");
      await page.getByRole("listbox").waitFor();
    },
  },
  {
    name: "the help",
    path: "",
    ready: "canvas",
    act: async (page) => {
      await page.keyboard.press("?");
      await page.getByRole("dialog", { name: "Keys" }).waitFor();
    },
  },
];

async function visit(page: Page, url: string, { path, ready, act }: Visit) {
  await page.goto(url + path);
  await page.locator(ready).first().waitFor();
  await act?.(page);
}

/** What axe calls serious or critical, as lines. */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  const results = (await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")) as AxeResults;
  const grave = results.violations.filter((it) => it.impact === "serious" || it.impact === "critical");
  return grave.flatMap((it) =>
    it.nodes.map((node) => `${it.id}: ${node.html.slice(0, 160)} — ${node.failureSummary?.replaceAll("\n", " ")}`),
  );
}

for (const theme of ["dark", "light"] as const) {
  describe(`in the ${theme} theme`, () => {
    it.each(PAGES)("$name is accessible, fits, and keeps to itself", async (one) => {
      for (const viewport of [WIDE, PHONE]) {
        const { page, problems } = await ONE.page({ theme, viewport });
        await visit(page, ONE.url, one);
        expect(await sticksOut(page), `at ${viewport.width}`).toBe(0);
        expect(await violations(page), `at ${viewport.width}`).toEqual([]);
        expect(problems).toEqual([]);
        await page.close();
      }
    });
  });
}

describe.skipIf(LUNER_URL)("under a base path", () => {
  beforeAll(() => BASED.start({ base: "/console/", traces: 500 }));
  afterAll(() => BASED.stop());

  it.each(PAGES)("$name works, also when opened there", async (one) => {
    const { page, problems } = await BASED.page();
    await visit(page, BASED.url, one);
    expect(new URL(page.url()).pathname).toMatch(/^\/console\//);
    expect(BASED.outside).toEqual([]);
    expect(problems).toEqual([]);
    await page.close();
  });
});

describe.skipIf(LUNER_URL)("with nothing stored yet", () => {
  beforeAll(() => EMPTY.start({ empty: true }));
  afterAll(() => EMPTY.stop());

  it.each([
    ["", "No requests in this period"],
    ["traces", "No requests in this period"],
    ["traces?live=1", "Waiting for requests"],
    ["traces?user_id=nobody", "Nothing passes this filter"],
    ["policies", "No policies yet"],
  ])("/%s says what to do", async (path, words) => {
    const { page, problems } = await EMPTY.page();
    await page.goto(EMPTY.url + path);
    await page.getByText(words).waitFor();
    expect(await violations(page)).toEqual([]);
    expect(problems).toEqual([]);
    await page.close();
  });
});

describe.skipIf(LUNER_URL)("when the gateway is gone", () => {
  it("pages say so, and come back by themselves", async () => {
    const { page } = await ONE.page();
    await page.route("**/api/**", (route) => route.abort());
    await page.goto(`${ONE.url}policies`);
    await page.getByText("The gateway cannot be reached.").waitFor();
    await page.unroute("**/api/**");
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByRole("switch").first().waitFor();
  });

  it("storage that is off is explained", async () => {
    const { page } = await ONE.page();
    const body = JSON.stringify({
      error: {
        message: "Policies need storage, and it is switched off.",
        type: "service_unavailable_error",
        param: null,
        code: "storage_off",
      },
    });
    await page.route("**/api/policies", (route) =>
      route.fulfill({ status: 503, contentType: "application/json", body }),
    );
    await page.goto(`${ONE.url}policies`);
    await page.getByText(/Set storage.backend to sqlite/).waitFor();
  });
});
