// Malicious names, and heavy traffic.
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { horizontalOverflow, LUNER_URL, PHONE, TestGateway, USES_LUNER, WIDE } from "./support";
import { waitForTraces } from "./traffic.mjs";

const NAMES = [
  "<img src=x onerror=alert(1)>",
  '"><script>alert(2)</script>',
  "x".repeat(200),
  "\u05de\u05e9\u05ea\u05de\u05e9 \u202eetc/passwd",
  "\u{1f469}\u200d\u{1f680} zo\u00eb \u{1f315}",
  "{{7*7}}",
];

const POLICY_NAME_MAX = 128;

/** Waits until the page has loaded its data. */
async function waitUntilLoaded(page: Page) {
  await page.locator("h1").waitFor();
  await page.waitForFunction(() => !document.querySelector("[data-skeleton]"));
}

describe.skipIf(LUNER_URL)("malicious name", () => {
  const gateway = new TestGateway();
  const paths = ["", "?by=user", "?by=model", "traces", "policies", "changes"];
  /** Sends the name as the model, and in the identity headers if they can carry it. */
  const sendNamed = async (name: string) => {
    const printable = /^[ -~]+$/.test(name);
    const headers = { "x-user-id": name, "x-luner-agent": name, "x-luner-tenant": name };
    const { status, trace } = await gateway.call(printable ? headers : {}, name);
    expect(status).toBe(200);
    return trace;
  };
  beforeAll(async () => {
    await gateway.start({ traces: 300, rate: 0 });
    for (const name of NAMES) {
      const trace = USES_LUNER
        ? await sendNamed(name)
        : gateway.fixture?.state.add({ user: name, agent: name, tenant: name, model: name, status: 502 }).id;
      // The gateway refuses policy names that are longer or have invisible characters.
      const policyName = name.replace(/\p{Cf}/gu, "").slice(0, POLICY_NAME_MAX);
      const expression = `user_id == "${name.replaceAll('"', "")}"`;
      const id = await gateway.createPolicy({
        name: policyName,
        description: policyName,
        expression,
        action: "block",
        message: policyName,
        mode: "shadow",
      });
      paths.push(
        `traces/${trace}`,
        `policies/${id}`,
        `traces?user_id=${encodeURIComponent(name)}&q=${encodeURIComponent(name)}`,
      );
    }
    if (USES_LUNER) await waitForTraces(gateway.url, NAMES.length);
  });
  afterEach(() => gateway.closePages());
  afterAll(() => gateway.stop());

  it.each([WIDE, PHONE])("runs no script and fits the page at $width pixels", async (viewport) => {
    const { page, problems } = await gateway.page({ viewport });
    for (const path of paths) {
      await page.goto(gateway.url + path);
      await waitUntilLoaded(page);
      expect(await horizontalOverflow(page), path).toBe(0);
      expect(await page.locator("main img, main script, main iframe").count(), path).toBe(0);
    }
    for (const name of NAMES) {
      await page.goto(`${gateway.url}traces?model=${encodeURIComponent(name)}`);
      await page.locator("tbody tr").first().waitFor();
      expect(await page.locator("tbody tr").first().textContent(), name).toContain(name);
    }
    expect(problems).toEqual([]);
  });
});

describe.skipIf(LUNER_URL || USES_LUNER)("with 200,000 traces and 500 requests a second", () => {
  const gateway = new TestGateway();
  beforeAll(() => gateway.start({ traces: 200_000, rate: 0 }));
  afterAll(() => gateway.stop());

  it("shows the content of each page", async () => {
    const { page, problems } = await gateway.page();
    for (const [path, ready] of [
      ["?range=7d", "canvas"],
      ["traces?range=7d", "tbody tr"],
      ["traces?range=7d&page=4000", "tbody tr"],
    ] as const) {
      const started = performance.now();
      await page.goto(gateway.url + path);
      await page.locator(ready).first().waitFor();
      console.log(`/${path}: ${Math.round(performance.now() - started)} ms`);
    }
    expect(problems).toEqual([]);
  });

  it("pauses and resumes the live tail, and bounds its rows", async () => {
    const { page, problems } = await gateway.page();
    await page.addInitScript(() => {
      const tasks: number[] = [];
      Object.assign(window, { tasks });
      new PerformanceObserver((list) => tasks.push(...list.getEntries().map((it) => it.duration))).observe({
        type: "longtask",
        buffered: true,
      });
    });
    await page.goto(`${gateway.url}traces?live=1`);
    await page.getByRole("status").getByText("Live").waitFor();
    const before = await page.locator("tbody tr").first().getAttribute("id");
    gateway.fixture?.state.setRate(500);
    await page.waitForFunction((id) => document.querySelector("tbody tr")?.id !== id, before);
    await page.keyboard.press("p");
    await page.getByRole("button", { name: /^[\d,]{3,} new$/ }).waitFor();
    const frozen = await page.locator("tbody tr").first().getAttribute("id");
    await page.getByRole("button", { name: /^[\d,]{4,} new$/ }).waitFor();
    expect(await page.locator("tbody tr").first().getAttribute("id")).toBe(frozen);
    await page.getByRole("button", { name: /new$/ }).click();
    await page.waitForFunction((id) => document.querySelector("tbody tr")?.id !== id, frozen);
    // Ten seconds of traffic while the page is in use.
    const sent = () => gateway.fixture?.state.traffic.list.length ?? 0;
    for (const until = sent() + 5_000; sent() < until; ) {
      await page.keyboard.press("j");
      await page.evaluate(() => new Promise(requestAnimationFrame));
    }
    expect(await page.locator("tbody tr").count()).toBeLessThanOrEqual(100);
    const tasks = await page.evaluate(() => (window as unknown as { tasks: number[] }).tasks);
    console.log(`long tasks: ${tasks.length}, the longest ${Math.round(Math.max(0, ...tasks))} ms`);
    gateway.fixture?.state.setRate(0);
    expect(problems).toEqual([]);
  });
});
