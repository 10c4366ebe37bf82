// What every browser test starts from: a page under the gateway's policy, and a list of all that went wrong in it.
import type { Browser, BrowserContext, Page } from "playwright-core";
import { launch } from "./browser.mjs";
import { start } from "./fixture/server.mjs";
import { startLuner } from "./luner.mjs";
import { startProxy } from "./strip-proxy.mjs";
import { keepSending, send, stored } from "./traffic.mjs";

/** A running luner to test against; otherwise a fixture is started, or a luner. */
export const LUNER_URL = process.env.LUNER_URL?.replace(/\/?$/, "/");
/** Whether each test starts a luner before the scripted provider instead of the fixture. */
export const REAL = process.env.GATEWAY === "luner";
/** Requests that a luner has answered before it is looked at. */
const SEEDED = 60;
/** Longer than any wait of a test needs, on a machine that does other things too. Arbitrary. */
const PATIENCE_MS = 20_000;
export const WIDE = { width: 1440, height: 900 };
export const PHONE = { width: 390, height: 844 };

export type Fixture = Awaited<ReturnType<typeof start>>;
/** What of a gateway a test wants other than usual. */
export type Options = { token?: string; base?: string; empty?: boolean; rate?: number; traces?: number };

export class Console {
  private browser: Browser | undefined;
  private contexts: BrowserContext[] = [];
  private stops: (() => unknown)[] = [];
  fixture: Fixture | undefined;
  luner: Awaited<ReturnType<typeof startLuner>> | undefined;
  url = "";
  /** What was asked of the proxy outside of the path that is the console's. */
  outside: string[] = [];
  /** Of the gateway itself, where a proxy stands before it. */
  private behind = "";

  async start(options: Options = {}) {
    this.browser = await launch();
    if (LUNER_URL && Object.keys(options).length === 0) this.url = LUNER_URL;
    else if (REAL) await this.startLuner(options);
    else {
      const fixture = await start(options);
      this.stops.push(() => fixture.close());
      this.fixture = fixture;
      this.url = fixture.url;
    }
  }

  /** A luner in the same state: something to look at, a policy that has matched, and a request now and then. */
  private async startLuner({ token = "", base = "/", empty = false, rate = 2 }: Options) {
    const luner = await startLuner({ token, base });
    this.luner = luner;
    this.stops.push(() => luner.stop());
    this.url = luner.url;
    this.behind = luner.url;
    if (base !== "/") {
      const proxy = await startProxy(luner.url, base);
      this.stops.unshift(() => proxy.close());
      this.url = proxy.url;
      this.outside = proxy.elsewhere;
    }
    if (empty) return;
    const headers = { "content-type": "application/json", authorization: `Bearer ${token || "x"}` };
    await this.keep(
      { name: "small model for batches", expression: "agent == 'batch-job'", action: "downgrade" },
      headers,
    );
    await this.keep({ name: "no playing", expression: "agent == 'playground'", action: "block" }, headers);
    await send(luner.url, SEEDED);
    await stored(luner.url, SEEDED, headers);
    if (rate > 0) {
      const traffic = keepSending(luner.url, rate);
      this.stops.unshift(() => traffic.stop());
    }
  }

  /** Makes a policy; its id. */
  async keep(draft: Record<string, unknown>, headers: Record<string, string> = { "content-type": "application/json" }) {
    const answer = await fetch(`${this.behind || this.url}api/policies`, {
      method: "POST",
      headers,
      body: JSON.stringify(draft),
    });
    if (answer.status !== 201) throw new Error(`a policy was refused: ${await answer.text()}`);
    return ((await answer.json()) as { id: string }).id;
  }

  async page(
    more: { theme?: "dark" | "light"; viewport?: typeof WIDE } = {},
  ): Promise<{ page: Page; problems: string[] }> {
    if (!this.browser) throw new Error("start() first");
    const context = await this.browser.newContext({
      viewport: more.viewport ?? WIDE,
      reducedMotion: "reduce",
      acceptDownloads: true,
    });
    this.contexts.push(context);
    await context.addInitScript((theme) => localStorage.setItem("luner.theme", theme), more.theme ?? "dark");
    context.setDefaultTimeout(PATIENCE_MS);
    const page = await context.newPage();
    const problems: string[] = [];
    const origin = new URL(this.url).origin;
    // A status from 400 on is part of what is tested, and its place is the page; all else on the console is a fault.
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
        problems.push(`a request elsewhere: ${request.url()}`),
    );
    return { page, problems };
  }

  /** A request as an application sends it. */
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

/** Whether anything sticks out to the side, which would make the page scroll that way. */
export function sticksOut(page: Page): Promise<number> {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}
