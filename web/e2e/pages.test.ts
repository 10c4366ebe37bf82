// Opens every page, wide and on a phone, dark and light. Checks that it fits the window, that axe finds no serious problem,
// that it keeps to the content security policy, and that it calls no other host.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { AxeResults } from "axe-core";
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { horizontalOverflow, LUNER_URL, PHONE, TestGateway, WIDE } from "./support";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const DEFAULT = new TestGateway();
const UNDER_BASE_PATH = new TestGateway();
const EMPTY = new TestGateway();
beforeAll(() => DEFAULT.start());
afterEach(() => DEFAULT.closePages());
afterAll(() => DEFAULT.stop());

type Visit = { name: string; path: string; ready: string; act?: (page: Page) => Promise<void> };
const PAGES: Visit[] = [
  { name: "dashboard", path: "", ready: "canvas" },
  { name: "traces", path: "traces", ready: "tbody tr" },
  {
    name: "facets",
    path: "traces",
    ready: "tbody tr",
    act: async (page) => {
      await page.getByRole("button", { name: "Filter" }).click();
      await page.getByText("Minimum cost, in dollars").waitFor();
    },
  },
  { name: "live tail", path: "traces?live=1", ready: "tbody tr" },
  {
    name: "trace",
    path: "traces",
    ready: "tbody tr",
    act: async (page) => {
      await page.locator("tbody tr").first().click();
      await page.getByRole("treeitem").first().waitFor();
    },
  },
  { name: "policies", path: "policies", ready: "h1" },
  {
    name: "editor",
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
  { name: "not found", path: "nowhere/at/all", ready: "text=Page not found" },
  {
    name: "palette",
    path: "",
    ready: "canvas",
    act: async (page) => {
      await page.keyboard.press("Control+k");
      await page.getByRole("listbox").waitFor();
    },
  },
  {
    name: "help",
    path: "",
    ready: "canvas",
    act: async (page) => {
      await page.keyboard.press("?");
      await page.getByRole("dialog", { name: "Keyboard shortcuts" }).waitFor();
    },
  },
];

async function visit(page: Page, url: string, { path, ready, act }: Visit) {
  await page.goto(url + path);
  await page.locator(ready).first().waitFor();
  await act?.(page);
}

/** The problems that axe calls serious or critical, one per line. */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  const results = (await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")) as AxeResults;
  const serious = results.violations.filter((it) => it.impact === "serious" || it.impact === "critical");
  return serious.flatMap((it) =>
    it.nodes.map((node) => `${it.id}: ${node.html.slice(0, 160)} — ${node.failureSummary?.replaceAll("\n", " ")}`),
  );
}

for (const theme of ["dark", "light"] as const) {
  describe(`in the ${theme} theme`, () => {
    it.each(PAGES)("$name is accessible, fits the window and breaks no policy", async (visited) => {
      for (const viewport of [WIDE, PHONE]) {
        const { page, problems } = await DEFAULT.page({ theme, viewport });
        await visit(page, DEFAULT.url, visited);
        expect(await horizontalOverflow(page), `at ${viewport.width}`).toBe(0);
        expect(await violations(page), `at ${viewport.width}`).toEqual([]);
        expect(problems).toEqual([]);
        await page.close();
      }
    });
  });
}

describe.skipIf(LUNER_URL)("under a base path", () => {
  beforeAll(() => UNDER_BASE_PATH.start({ base: "/console/", traces: 500 }));
  afterAll(() => UNDER_BASE_PATH.stop());

  it.each(PAGES)("$name opens directly", async (visited) => {
    const { page, problems } = await UNDER_BASE_PATH.page();
    await visit(page, UNDER_BASE_PATH.url, visited);
    expect(new URL(page.url()).pathname).toMatch(/^\/console\//);
    expect(UNDER_BASE_PATH.requestsOutsideBase).toEqual([]);
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
    ["traces?user_id=nobody", "No traces match this filter"],
    ["policies", "No policies yet"],
  ])("/%s shows an empty state", async (path, text) => {
    const { page, problems } = await EMPTY.page();
    await page.goto(EMPTY.url + path);
    await page.getByText(text).waitFor();
    expect(await violations(page)).toEqual([]);
    expect(problems).toEqual([]);
    await page.close();
  });
});

describe.skipIf(LUNER_URL)("when the gateway fails", () => {
  it("a page shows the failure and recovers on retry", async () => {
    const { page } = await DEFAULT.page();
    await page.route("**/api/**", (route) => route.abort());
    await page.goto(`${DEFAULT.url}policies`);
    await page.getByText("The gateway cannot be reached.").waitFor();
    await page.unroute("**/api/**");
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByRole("switch").first().waitFor();
  });

  it("a page explains that storage is off", async () => {
    const { page } = await DEFAULT.page();
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
    await page.goto(`${DEFAULT.url}policies`);
    await page.getByText(/Set storage.backend to sqlite/).waitFor();
  });
});
