// Support for the browser tests: starts a gateway and a browser, opens pages, and collects everything that goes wrong in them.
import type { Browser, BrowserContext, Page } from "playwright-core";
import { launch } from "./browser.mjs";
import { start } from "./fixture/server.mjs";
import { startLuner } from "./luner.mjs";
import { startProxy } from "./strip-proxy.mjs";
import { sendRequests, startTraffic, waitForTraces } from "./traffic.mjs";

/** The URL of a running luner to test. Without it, the tests start the fixture or a luner. */
export const LUNER_URL = process.env.LUNER_URL?.replace(/\/?$/, "/");
/** Whether the tests start luner with the scripted provider instead of the fixture. */
export const USES_LUNER = process.env.GATEWAY === "luner";
/** Requests that a new luner answers before the tests start. Arbitrary: more than a page of the list. */
const SEED_REQUESTS = 60;
/** Longest wait for an element. Arbitrary, but long enough for a busy machine. */
const TIMEOUT_MS = 20_000;
export const WIDE = { width: 1440, height: 900 };
export const PHONE = { width: 390, height: 844 };

export type Fixture = Awaited<ReturnType<typeof start>>;
/** Settings of a gateway that differ from the default. */
export type Options = { token?: string; base?: string; empty?: boolean; rate?: number; traces?: number };

export class TestGateway {
  private browser: Browser | undefined;
  private contexts: BrowserContext[] = [];
  private stops: (() => unknown)[] = [];
  fixture: Fixture | undefined;
  luner: Awaited<ReturnType<typeof startLuner>> | undefined;
  url = "";
  /** Requests to the proxy outside of the console's base path. */
  requestsOutsideBase: string[] = [];
  /** luner's own URL, also when a proxy is in front of it. */
  private directUrl = "";

  async start(options: Options = {}) {
    this.browser = await launch();
    if (LUNER_URL && Object.keys(options).length === 0) this.url = LUNER_URL;
    else if (USES_LUNER) await this.startLuner(options);
    else {
      const fixture = await start(options);
      this.stops.push(() => fixture.close());
      this.fixture = fixture;
      this.url = fixture.url;
    }
  }

  /** Starts luner in a state like the fixture's: with traces, a policy that has matched, and a request now and then. */
  private async startLuner({ token = "", base = "/", empty = false, rate = 2 }: Options) {
    const luner = await startLuner({ token, base });
    this.luner = luner;
    this.stops.push(() => luner.stop());
    this.url = luner.url;
    this.directUrl = luner.url;
    if (base !== "/") {
      const proxy = await startProxy(luner.url, base);
      this.stops.unshift(() => proxy.close());
      this.url = proxy.url;
      this.requestsOutsideBase = proxy.outsideBase;
    }
    if (empty) return;
    const headers = { "content-type": "application/json", authorization: `Bearer ${token || "x"}` };
    await this.createPolicy(
      { name: "small model for batches", expression: "agent == 'batch-job'", action: "downgrade" },
      headers,
    );
    await this.createPolicy({ name: "no playground", expression: "agent == 'playground'", action: "block" }, headers);
    await sendRequests(luner.url, SEED_REQUESTS);
    await waitForTraces(luner.url, SEED_REQUESTS, headers);
    if (rate > 0) {
      const traffic = startTraffic(luner.url, rate);
      this.stops.unshift(() => traffic.stop());
    }
  }

  /** Creates a policy. Returns its ID. */
  async createPolicy(
    draft: Record<string, unknown>,
    headers: Record<string, string> = { "content-type": "application/json" },
  ) {
    const answer = await fetch(`${this.directUrl || this.url}api/policies`, {
      method: "POST",
      headers,
      body: JSON.stringify(draft),
    });
    if (answer.status !== 201) throw new Error(`the policy was not created: ${await answer.text()}`);
    return ((await answer.json()) as { id: string }).id;
  }

  async page(
    options: { theme?: "dark" | "light"; viewport?: typeof WIDE } = {},
  ): Promise<{ page: Page; problems: string[] }> {
    if (!this.browser) throw new Error("call start() first");
    const context = await this.browser.newContext({
      viewport: options.viewport ?? WIDE,
      reducedMotion: "reduce",
      acceptDownloads: true,
    });
    this.contexts.push(context);
    await context.addInitScript((theme) => localStorage.setItem("luner.theme", theme), options.theme ?? "dark");
    context.setDefaultTimeout(TIMEOUT_MS);
    const page = await context.newPage();
    const problems: string[] = [];
    const origin = new URL(this.url).origin;
    // Failed calls to the API are part of the tests. Any other error on the browser's console is a problem.
    page.on(
      "console",
      (message) =>
        message.type() === "error" &&
        !message.text().startsWith("Failed to load resource") &&
        problems.push(message.text()),
    );
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("dialog", (dialog) => {
      problems.push(`a dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on(
      "request",
      (request) =>
        !request.url().startsWith(origin) &&
        !/^(data|blob):/.test(request.url()) &&
        problems.push(`a request to another host: ${request.url()}`),
    );
    return { page, problems };
  }

  /** Sends a chat request as an application does. */
  async call(
    headers: Record<string, string> = {},
    model = "gpt-4o-mini",
  ): Promise<{ status: number; trace: string; tokens: number }> {
    const answer = await fetch(`${this.url}v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: "Bearer x", ...headers },
      body: JSON.stringify({ model, messages: [{ role: "user", content: "Say hello." }] }),
    });
    const body = (await answer.json()) as { usage?: { total_tokens?: number } };
    return {
      status: answer.status,
      trace: answer.headers.get("x-luner-trace-id") ?? "",
      tokens: body.usage?.total_tokens ?? 0,
    };
  }

  async closePages() {
    await Promise.all(this.contexts.splice(0).map((context) => context.close()));
  }

  async stop() {
    await this.closePages();
    await this.browser?.close();
    for (const stop of this.stops.splice(0)) await stop();
  }
}

/** By how many pixels the page is wider than the window. Not 0 means that it scrolls sideways. */
export function horizontalOverflow(page: Page): Promise<number> {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}
