// Pictures of every page: 1440 and 390 wide, dark and light. From the fixture, or from the luner at LUNER_URL.
//   node e2e/screenshots.mjs OUT [NAME…]
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { launch } from "./browser.mjs";
import { start } from "./fixture/server.mjs";

const [out = "screenshots", ...only] = process.argv.slice(2);
const WIDTHS = { wide: { width: 1440, height: 900 }, phone: { width: 390, height: 844 } };

const firstTrace = async (page, url, query) =>
  (await (await page.request.get(`${url}api/traces?page_size=1&${query}`)).json()).items[0]?.trace_id;
const type = (text) => async (page) => {
  await page.locator(".cm-content").click();
  await page.keyboard.type(text);
  await page.waitForTimeout(900);
};
const PAGES = [
  { name: "dashboard", path: "" },
  { name: "dashboard-week", path: "?range=7d&by=model" },
  { name: "traces", path: "traces" },
  { name: "traces-filtered", path: "traces?agent_name=support-bot&status=blocked" },
  {
    name: "trace",
    path: async (page, url) =>
      `traces/${await firstTrace(page, url, "status=downgraded&model=gpt-4o-mini")}?status=downgraded`,
  },
  {
    name: "trace-run",
    path: async (page, url) =>
      `traces/${await firstTrace(page, url, "agent_name=research-agent&status=ok&min_cost=0.001")}`,
  },
  { name: "trace-error", path: async (page, url) => `traces/${await firstTrace(page, url, "status=502")}` },
  { name: "trace-blocked", path: async (page, url) => `traces/${await firstTrace(page, url, "status=blocked")}` },
  { name: "policies", path: "policies" },
  { name: "policy", path: "policies/pol_0000000000000002" },
  { name: "policy-new", path: "policies/new" },
  { name: "policy-mistake", path: "policies/new", act: type("cost_usd > 1.0 && modl == 'gpt-4o'") },
  { name: "changes", path: "changes" },
  { name: "settings", path: "settings" },
  { name: "sign-in", path: "sign-in" },
  {
    name: "palette",
    path: "",
    act: async (page) => {
      await page.keyboard.press("Control+k");
      await page.waitForTimeout(300);
    },
  },
  {
    name: "help",
    path: "traces",
    act: async (page) => {
      await page.keyboard.press("?");
      await page.waitForTimeout(300);
    },
  },
];

mkdirSync(out, { recursive: true });
const fixture = process.env.LUNER_URL ? null : await start({ traces: Number(process.env.FIXTURE_TRACES ?? 100_000) });
const url = process.env.LUNER_URL ?? fixture.url;
const browser = await launch();
const themes = (process.env.THEMES ?? "dark,light").split(",");
const widths = (process.env.WIDTHS ?? "wide,phone").split(",");
for (const theme of themes) {
  for (const width of widths) {
    const context = await browser.newContext({
      viewport: WIDTHS[width],
      deviceScaleFactor: 1,
      reducedMotion: "reduce",
    });
    await context.addInitScript((kept) => localStorage.setItem("luner.theme", kept), theme);
    const page = await context.newPage();
    page.on("console", (message) => message.type() === "error" && console.log(`${theme} ${width}: ${message.text()}`));
    page.on("pageerror", (error) => console.log(`${theme} ${width}: ${error}`));
    for (const { name, path, act } of PAGES) {
      if (only.length > 0 && !only.includes(name)) continue;
      await page.goto(url + (typeof path === "string" ? path : await path(page, url)), { waitUntil: "load" });
      await page.waitForTimeout(1200);
      await act?.(page);
      await page.screenshot({
        path: join(out, `${name}-${width}-${theme}.png`),
        fullPage: !act && process.env.FULL !== "0",
      });
    }
    await context.close();
  }
}
await browser.close();
fixture?.close();
