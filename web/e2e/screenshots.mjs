// Takes screenshots of the console with `luner demo`, or with the luner at LUNER_URL.
//   node e2e/screenshots.mjs OUT                 those of the documentation: dark, 1440 × 900, named after their pages
//   node e2e/screenshots.mjs OUT --all [NAME…]   all pages or the named ones, full length, 1440 and 390 wide, dark and light
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { launch } from "./browser.mjs";
import { startDemo } from "./luner.mjs";

const [out = "screenshots", mode, ...only] = process.argv.slice(2);
const WIDTHS = { wide: { width: 1440, height: 900 }, phone: { width: 390, height: 844 } };
/** Largest screenshot of the documentation, in bytes. Arbitrary: keeps its pages quick to load. */
const BYTES_MAX = 250_000;
/** Time for charts and fonts to appear. Arbitrary: too short only spoils a screenshot. */
const SETTLE_MS = 900;

const json = async (page, path) => (await page.request.get(new URL(path, url).href)).json();
/** The path of the newest trace that matches the query and `wanted`. */
const trace =
  (query, wanted = () => true) =>
  async (page) => {
    const { items } = await json(page, `api/traces?page_size=200&${query}`);
    const found = items.find(wanted);
    if (!found) throw new Error(`no trace with ${query}`);
    return `traces/${found.trace_id}`;
  };
const policy = (name) => async (page) => {
  const { items } = await json(page, "api/policies");
  return `policies/${(items.find((it) => it.name === name) ?? items[0]).id}`;
};
const type = (text) => async (page) => {
  await page.locator(".cm-content").click();
  await page.keyboard.type(text);
  await page.keyboard.press("Escape");
};
const key = (keys) => (page) => page.keyboard.press(keys);

const SHOWN = [
  // The demo's history covers six hours.
  { name: "dashboard", path: "?range=6h" },
  { name: "traces", path: "traces" },
  // A run of an agent, so that the waterfall has several requests.
  {
    name: "trace",
    path: trace("agent_name=researcher&status=ok&min_ms=4000", (it) => it.requests >= 3),
    act: (page) => page.getByRole("treeitem").nth(1).click(),
  },
  { name: "policies", path: "policies" },
  { name: "policy-editor", path: "policies/new", act: draft },
];
const ALL = [
  ...SHOWN,
  { name: "dashboard-week", path: "?range=7d&by=model" },
  { name: "traces-filtered", path: "traces?agent_name=support&status=hit" },
  { name: "traces-facets", path: "traces", act: (page) => page.getByRole("button", { name: "Filter" }).click() },
  { name: "traces-live", path: "traces?live=1", act: (page) => page.locator("tbody tr").nth(2).waitFor() },
  { name: "traces-none", path: "traces?user_id=nobody" },
  { name: "trace-downgraded", path: trace("status=downgraded") },
  { name: "trace-error", path: trace("status=502") },
  { name: "trace-blocked", path: trace("status=blocked") },
  { name: "trace-hit", path: trace("status=hit") },
  { name: "policy", path: policy("batches on the small model") },
  { name: "policy-new", path: "policies/new" },
  { name: "policy-mistake", path: "policies/new", act: type("cost_usd > 1.0 && modl == 'gpt-4o'") },
  { name: "changes", path: "changes" },
  { name: "settings", path: "settings" },
  { name: "sign-in", path: "sign-in" },
  { name: "nothing", path: "nowhere/at/all" },
  { name: "palette", path: "", act: key("Control+k") },
  { name: "help", path: "traces", act: key("?") },
];

/** Fills in a policy whose expression has matched something. */
async function draft(page) {
  await page.getByLabel("Name", { exact: true }).fill("no large models for support");
  await type('agent == "support" && est_input_tokens > 500')(page);
  await page.getByText(/of [\d,]+ requests would/).waitFor();
}

/** Waits until the page has loaded its data and drawn its charts. */
async function settle(page) {
  await page.waitForFunction(() => !document.querySelector("[data-skeleton]"));
  await page.waitForTimeout(SETTLE_MS);
}

mkdirSync(out, { recursive: true });
const demo = process.env.LUNER_URL ? null : await startDemo();
const url = process.env.LUNER_URL?.replace(/\/?$/, "/") ?? demo.url;
const browser = await launch();

async function shoot(pages, theme, width, named, fullPage) {
  const context = await browser.newContext({ viewport: WIDTHS[width], deviceScaleFactor: 1, reducedMotion: "reduce" });
  await context.addInitScript((kept) => localStorage.setItem("luner.theme", kept), theme);
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && console.log(`${theme} ${width}: ${message.text()}`));
  page.on("pageerror", (error) => console.log(`${theme} ${width}: ${error}`));
  for (const { name, path, act } of pages) {
    await page.goto(url + (typeof path === "string" ? path : await path(page)), { waitUntil: "load" });
    await settle(page);
    if (act) {
      await act(page);
      await settle(page);
    }
    await page.mouse.move(0, 0);
    await page.screenshot({ path: join(out, named(name)), fullPage: fullPage && !act });
  }
  await context.close();
}

try {
  if (mode === "--all") {
    const pages = only.length > 0 ? ALL.filter(({ name }) => only.includes(name)) : ALL;
    for (const theme of (process.env.THEMES ?? "dark,light").split(","))
      for (const width of (process.env.WIDTHS ?? "wide,phone").split(","))
        await shoot(pages, theme, width, (name) => `${name}-${width}-${theme}.png`, true);
  } else {
    await shoot(SHOWN, "dark", "wide", (name) => `${name}.png`, false);
    for (const { name } of SHOWN) {
      const { size } = statSync(join(out, `${name}.png`));
      console.log(`${name}.png: ${Math.round(size / 1000)} kB`);
      if (size > BYTES_MAX) throw new Error(`${name}.png has ${size} bytes, at most ${BYTES_MAX} are allowed`);
    }
  }
} finally {
  await browser.close();
  await demo?.stop();
}
