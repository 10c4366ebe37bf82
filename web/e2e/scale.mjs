// Measures the console under load: `luner demo` with 200,000 traces, then 500 requests a second into the live tail. Prints
// figures but does not judge them, because they depend on the machine.
//   npm run scale        SCALE_TRACES, SCALE_RATE, SCALE_SECONDS; LUNER_BIN if not target/release/luner
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { launch } from "./browser.mjs";
import { startDemo } from "./luner.mjs";
import { startTraffic } from "./traffic.mjs";

const TRACES = Number(process.env.SCALE_TRACES ?? 200_000);
const RATE = Number(process.env.SCALE_RATE ?? 500);
const SECONDS = Number(process.env.SCALE_SECONDS ?? 10);
/** Keys per round of moving down and up again. Arbitrary: fewer than the rows of the tail. */
const KEYS = 40;
/** Slower answers of the gateway are listed. Arbitrary. */
const SLOW_MS = 50;

const RELEASE = fileURLToPath(new URL("../../target/release/luner", import.meta.url));
if (!process.env.LUNER_BIN && existsSync(RELEASE)) process.env.LUNER_BIN = RELEASE;

const ms = (value) => `${Math.round(value)} ms`;
const percentile = (values, share) =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0;

const began = performance.now();
const demo = await startDemo(["--traces", String(TRACES)]);
console.log(
  `${TRACES} traces seeded and served after ${ms(performance.now() - began)}, by ${process.env.LUNER_BIN ?? "a debug build"}`,
);
const browser = await launch();
const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, reducedMotion: "reduce" });
await context.addInitScript(() => {
  const seen = { tasks: [], frames: [] };
  Object.assign(window, { seen });
  new PerformanceObserver((list) => seen.tasks.push(...list.getEntries().map((it) => it.duration))).observe({
    type: "longtask",
    buffered: true,
  });
  let last = 0;
  const frame = (now) => {
    if (last > 0) seen.frames.push(now - last);
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
});
const page = await context.newPage();
const answers = [];
page.on("requestfinished", async (request) => {
  const { pathname, search } = new URL(request.url());
  if (!pathname.startsWith("/api/") || pathname.endsWith("/stream")) return;
  const { requestStart, responseStart } = request.timing();
  answers.push({
    path: pathname.replace(/[0-9a-f]{32}/, "{id}") + search.replace(/(from|to)=[^&]*&?/g, ""),
    took: responseStart - requestStart,
  });
});
const seen = () => page.evaluate(() => window.seen);
const longest = (tasks) =>
  tasks.length === 0 ? "no long task" : `${tasks.length} long tasks, the longest ${ms(Math.max(...tasks))}`;

/** Measures how long a page takes to load its data, and then how long `act` takes. */
async function timed(name, path, ready, act) {
  await page.goto("about:blank");
  const started = performance.now();
  await page.goto(demo.url + path, { waitUntil: "commit" });
  await page.locator(ready).first().waitFor();
  await page.waitForFunction(() => !document.querySelector("[data-skeleton]"));
  let text = `${name.padEnd(34)} usable after ${ms(performance.now() - started)}`;
  if (act) {
    const acted = performance.now();
    await act();
    text += `, then ${ms(performance.now() - acted)}`;
  }
  console.log(`${text}; ${longest((await seen()).tasks)}`);
}

const policies = (await (await page.request.get(`${demo.url}api/policies`)).json()).items;
const trace = (await (await page.request.get(`${demo.url}api/traces?page_size=1&min_ms=5000`)).json()).items[0]
  .trace_id;
answers.length = 0;
await timed("dashboard, a day", "", "canvas");
await timed("dashboard, a week by model", "?range=7d&by=model", "canvas");
await timed("traces, a day", "traces", "tbody tr");
await timed("traces, a week", "traces?range=7d", "tbody tr");
await timed("traces, a week, page 4,000", "traces?range=7d&page=4000", "tbody tr");
await timed("traces of one user, a week", "traces?range=7d&user_id=ana", "tbody tr");
await timed("traces that hold a text, a week", "traces?range=7d&q=sonnet", "tbody tr");
await timed("traces that a policy matched", `traces?range=7d&policy=${policies[1].id}`, "tbody tr");
await timed("facets, a week", "traces?range=7d", "tbody tr", async () => {
  await page.getByRole("button", { name: "Filter" }).click();
  await page.getByText("Minimum cost, in dollars").waitFor();
});
await timed("a trace", `traces/${trace}?range=7d`, "[role=treeitem]");
await timed("policies", "policies", "[role=switch]");
await timed("the editor, and a replay", `policies/${policies[0].id}`, ".cm-content", () =>
  page.getByText(/of [\d,]+ requests would/).waitFor(),
);
await timed("settings", "settings", "dl");
await timed("changes", "changes", "summary");

console.log(`\nslower than ${SLOW_MS} ms to answer, at the browser:`);
for (const { path, took } of answers.filter(({ took }) => took > SLOW_MS).sort((a, b) => b.took - a.took))
  console.log(`  ${ms(took).padStart(8)}  ${path}`);

await page.goto(`${demo.url}traces?live=1`);
await page.getByRole("status").getByText("Live").waitFor();
const traffic = startTraffic(demo.url, RATE);
await page.locator("tbody tr").nth(50).waitFor();
await page.evaluate(() => Object.assign(window.seen, { tasks: [], frames: [] }));
const [from, start] = [traffic.answered, performance.now()];
const presses = [];
while (performance.now() - start < SECONDS * 1000) {
  const key = presses.length % KEYS < KEYS / 2 ? "j" : "k";
  const pressed = performance.now();
  await page.keyboard.press(key);
  await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => drawn())));
  presses.push(performance.now() - pressed);
}
const rate = ((traffic.answered - from) * 1000) / (performance.now() - start);
const { tasks, frames } = await seen();
const rows = await page.locator("tbody tr").count();
traffic.stop();
console.log(`\nlive tail at ${Math.round(rate)} requests/s for ${SECONDS} s: ${rows} rows`);
console.log(`  ${longest(tasks)}, ${ms(tasks.reduce((sum, it) => sum + it, 0))} in all`);
console.log(
  `  frames: ${frames.length}, p50 ${ms(percentile(frames, 0.5))}, p99 ${ms(percentile(frames, 0.99))}, the longest ${ms(Math.max(0, ...frames))}`,
);
console.log(
  `  j and k: ${presses.length}, drawn after p50 ${ms(percentile(presses, 0.5))}, p99 ${ms(percentile(presses, 0.99))}`,
);
await browser.close();
await demo.stop();
