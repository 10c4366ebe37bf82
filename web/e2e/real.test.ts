// Tests that need a real luner: the console shows the same tokens and cost as an OpenAI client receives, and a change to the
// config file appears in the console.
import OpenAI from "openai";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { usd } from "@/lib/format";
import { TestGateway } from "./support";

const gateway = new TestGateway();
beforeAll(() => gateway.start({ rate: 0 }));
afterEach(() => gateway.closePages());
afterAll(() => gateway.stop());

const client = (user: string) =>
  new OpenAI({ baseURL: `${gateway.url}v1`, apiKey: "any", maxRetries: 0, defaultHeaders: { "x-luner-user": user } });
const hello: OpenAI.ChatCompletionMessageParam[] = [{ role: "user", content: "Say hello." }];

describe("call through OpenAI's client", () => {
  it("appears in the live tail, and its trace matches the response", async () => {
    const { page, problems } = await gateway.page();
    await page.goto(`${gateway.url}traces?live=1`);
    await page.getByRole("status").getByText("Live").waitFor();
    const { data, response } = await client("sdk")
      .chat.completions.create({ model: "gpt-4o", messages: hello })
      .withResponse();
    const trace = response.headers.get("x-luner-trace-id");
    const cost = Number(response.headers.get("x-luner-cost-usd"));
    expect(cost).toBeGreaterThan(0);
    await page.locator(`#trace-${trace}`).click();
    await page.waitForURL(new RegExp(`/traces/${trace}`));
    const tree = page.getByRole("tree");
    await tree
      .getByText(/attempt/)
      .first()
      .waitFor();
    expect(await tree.getByRole("treeitem").allTextContents()).toEqual([
      expect.stringMatching(/gpt-4o/),
      expect.stringMatching(/attempt.*openai-prod/),
    ]);
    const fact = (name: string) =>
      page.getByRole("term").filter({ hasText: name }).first().locator("xpath=following-sibling::dd");
    expect(await fact("Tokens").first().textContent()).toBe(String(data.usage?.total_tokens));
    const parts = `${data.usage?.prompt_tokens} in, ${data.usage?.completion_tokens} out`;
    expect(await fact("Tokens").nth(1).textContent()).toBe(parts);
    expect(await fact("Cost").first().textContent()).toBe(usd(cost));
    expect(problems).toEqual([]);
  });

  it("that streams has a trace with the tokens of its last chunk", async () => {
    const { page, problems } = await gateway.page();
    const { data, response } = await client("streams")
      .chat.completions.create({
        model: "gpt-4o",
        messages: hello,
        stream: true,
        stream_options: { include_usage: true },
      })
      .withResponse();
    let total = 0;
    for await (const chunk of data) total = chunk.usage?.total_tokens ?? total;
    expect(total).toBeGreaterThan(0);
    await page.goto(`${gateway.url}traces/${response.headers.get("x-luner-trace-id")}`);
    await page
      .getByRole("definition")
      .filter({ hasText: new RegExp(`^${total}$`) })
      .first()
      .waitFor();
    expect(problems).toEqual([]);
  });

  it("is blocked once a policy is saved, and passes once it is off", async () => {
    const { page, problems } = await gateway.page();
    const { chat } = client("stopped");
    await chat.completions.create({ model: "gpt-4o", messages: hello });
    await page.goto(`${gateway.url}policies/new`);
    await page.getByLabel("Name", { exact: true }).fill("stop one");
    await page.getByRole("textbox", { name: "Expression" }).click();
    await page.keyboard.type(`user == "stopped`);
    await page.locator(".cm-lintRange-error", { hasText: "user" }).waitFor();
    await page.keyboard.press("Control+a");
    await page.keyboard.type(`user_id == "stopped`);
    await page.getByText("Reads user_id.").waitFor();
    await page
      .getByRole("region", { name: "Would have matched" })
      .getByText(/of [\d,]+ requests would have been blocked/)
      .waitFor();
    await page.getByRole("radio", { name: /Enforce/ }).check({ force: true });
    await page.getByRole("button", { name: "Create policy" }).click();
    await page.getByText("“stop one” is saved and enforced from the next request.").waitFor();
    const refused = await chat.completions
      .create({ model: "gpt-4o", messages: hello })
      .catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(OpenAI.PermissionDeniedError);
    expect((refused as InstanceType<typeof OpenAI.PermissionDeniedError>).code).toBe("policy_violation");
    await page.getByRole("switch", { name: "Enable stop one" }).click();
    await page.getByText("“stop one” is off from the next request.").waitFor();
    await chat.completions.create({ model: "gpt-4o", messages: hello });
    expect(problems).toEqual([]);
  });
});

describe("config file", () => {
  it("with a mistake is rejected, and Settings shows where and the differences", async () => {
    const { page, problems } = await gateway.page();
    const { luner } = gateway;
    if (!luner) throw new Error("this test needs a luner of its own");
    await page.goto(`${gateway.url}settings`);
    await page.getByRole("heading", { name: "Running configuration" }).waitFor();
    luner.rewrite(luner.config.replace("retries: 0", "retries: -1\n    api_kee: sk-of-nobody"));
    const { rejected } = await waitForRejection();
    await page.reload();
    const notice = page.getByText("The last change to the config file was rejected.");
    await notice.waitFor();
    await page.getByText(`${rejected.problems[0]?.line}:`).first().waitFor();
    const changed = page.getByRole("listitem").filter({ hasText: "providers[openai-prod].retries" });
    await changed.filter({ hasText: "running: 0" }).filter({ hasText: "rejected: -1" }).waitFor();
    expect(await page.content()).not.toContain("sk-of-nobody");
    luner.rewrite(luner.config);
    await notice.waitFor({ state: "detached" });
    expect(problems).toEqual([]);
  });
});

/** Waits until luner has rejected a change to the config file. Returns the configuration. */
async function waitForRejection(): Promise<{ rejected: { problems: { line: number }[] } }> {
  for (;;) {
    const config = await (await fetch(`${gateway.url}api/config`)).json();
    if (config.rejected) return config;
    await new Promise((later) => setTimeout(later, 50));
  }
}
