// User journeys in a real browser, against the fixture, luner, or the luner at LUNER_URL if it serves gpt-4o-mini.
import { readFile } from "node:fs/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { LUNER_URL, TestGateway } from "./support";

const gateway = new TestGateway();
beforeAll(() => gateway.start());
afterEach(() => gateway.closePages());
afterAll(() => gateway.stop());

/** A name that no other run uses. */
const unique = (word: string) => `${word}-${Math.random().toString(36).slice(2, 8)}`;

describe("request", () => {
  it("appears in the live tail, and its trace shows spans, tokens and cost", async () => {
    const { page, problems } = await gateway.page();
    const user = unique("walker");
    await page.goto(`${gateway.url}traces?live=1&user_id=${user}`);
    await page.getByRole("status").getByText("Live").waitFor();
    const { trace, status, tokens } = await gateway.call({ "x-user-id": user, "x-luner-agent": "e2e" });
    expect(status).toBe(200);
    await page.locator(`#trace-${trace}`).click();
    await page.waitForURL(new RegExp(`/traces/${trace}`));
    const tree = page.getByRole("tree");
    await tree.getByRole("treeitem").first().waitFor();
    expect(await tree.getByRole("treeitem").count()).toBeGreaterThan(1);
    await tree
      .getByText(/attempt/)
      .first()
      .waitFor();
    await page
      .getByRole("definition")
      .filter({ hasText: new RegExp(`^${tokens}$`) })
      .first()
      .waitFor();
    await page
      .getByText(/^\$0\.0\d+$/)
      .first()
      .waitFor();
    expect(problems).toEqual([]);
  });

  it("is found by its trace ID, from the list and from the palette", async () => {
    const { page, problems } = await gateway.page();
    const { trace } = await gateway.call();
    await page.goto(`${gateway.url}traces`);
    await page.locator("tbody tr").first().waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type(trace);
    await page.keyboard.press("Enter");
    await page.waitForURL(new RegExp(`/traces/${trace}`));
    await page.getByRole("tree").waitFor();
    await page.keyboard.press("Escape");
    await page.waitForURL(/\/traces(\?|$)/);
    await page.keyboard.press("Control+k");
    await page.keyboard.type(`00-${trace}-00f067aa0ba902b7-01`);
    await page.keyboard.press("Enter");
    await page.waitForURL(new RegExp(`/traces/${trace}`));
    expect(problems).toEqual([]);
  });
});

describe("policy", () => {
  it("is corrected, replayed and saved, blocks the next call, and no longer blocks once off", async () => {
    const { page, problems } = await gateway.page();
    const user = unique("stopped");
    const name = unique("stop");
    expect((await gateway.call({ "x-user-id": user })).status).toBe(200);

    await page.goto(`${gateway.url}policies`);
    await page.getByRole("link", { name: "New policy" }).click();
    await page.getByLabel("Name", { exact: true }).fill(name);
    const editor = page.getByRole("textbox", { name: "Expression" });
    await editor.click();
    await page.keyboard.type(`usr_id == "${user}`);
    await page.getByText(/Line 1, column 1: /).waitFor();
    await page.locator(".cm-lintRange-error", { hasText: "usr_id" }).waitFor();
    // Replaces everything: the editor has added the closing quote.
    await page.keyboard.press("Control+a");
    await page.keyboard.type(`user_id == "${user}`);
    await page.getByText("Reads user_id.").waitFor();
    expect(await page.locator(".cm-lintRange-error").count()).toBe(0);

    const replay = page.getByRole("region", { name: "Would have matched" });
    await replay.getByText(/of [\d,]+ requests would have been blocked/).waitFor();
    await replay.getByText("1", { exact: true }).waitFor();
    await replay.getByRole("link").filter({ hasText: user }).waitFor();

    await page.getByRole("radio", { name: /Enforce/ }).check({ force: true });
    await page.getByRole("button", { name: "Create policy" }).click();
    await page.getByText(`“${name}” is saved and enforced from the next request.`).waitFor();
    expect((await gateway.call({ "x-user-id": user })).status).toBe(403);

    await page.getByRole("switch", { name: `Enable ${name}` }).click();
    await page.getByText(`“${name}” is off from the next request.`).waitFor();
    expect((await gateway.call({ "x-user-id": user })).status).toBe(200);
    expect(problems).toEqual([]);
  });

  it("is deleted and restored by undo, and both appear in the changes", async () => {
    const { page, problems } = await gateway.page();
    const name = unique("gone");
    const made = await page.request.post(`${gateway.url}api/policies`, {
      data: { name, expression: "false", action: "alert" },
    });
    expect(made.status()).toBe(201);
    await page.goto(`${gateway.url}policies`);
    await page.getByRole("button", { name: `Actions for ${name}` }).click();
    await page.getByRole("menuitem", { name: "Delete" }).click();
    await page.getByText(`“${name}” is deleted.`).waitFor();
    await page.getByRole("link", { name }).waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Undo" }).click();
    await page.getByRole("link", { name }).waitFor();
    await page.goto(`${gateway.url}changes`);
    const entries = page.locator("summary").filter({ hasText: name });
    await entries.nth(2).waitFor();
    expect((await entries.allInnerTexts()).map((text) => /created|deleted/.exec(text)?.[0])).toEqual([
      "created",
      "deleted",
      "created",
    ]);
    await entries.nth(1).click();
    await page.locator("details[open] li").filter({ hasText: "expression" }).filter({ hasText: "false" }).waitFor();
    expect(problems).toEqual([]);
  });

  it("with a taken name shows the error at its field, and leaving asks first", async () => {
    const { page, problems } = await gateway.page();
    const name = unique("taken");
    await page.request.post(`${gateway.url}api/policies`, { data: { name, expression: "false", action: "alert" } });
    await page.goto(`${gateway.url}policies/new`);
    const field = page.getByLabel("Name", { exact: true });
    await field.fill(name);
    await page.getByRole("textbox", { name: "Expression" }).click();
    await page.keyboard.type("true");
    await page.keyboard.press("Control+Enter");
    await page.locator("[aria-invalid=true]").waitFor();
    expect(await field.getAttribute("aria-invalid")).toBe("true");
    await page.getByRole("link", { name: "Traces" }).click();
    await page.getByRole("dialog", { name: "Leave without saving?" }).waitFor();
    await page.getByRole("button", { name: "Stay" }).click();
    expect(page.url()).toContain("/policies/new");
    expect(await field.inputValue()).toBe(name);
    expect(problems).toEqual([]);
  });

  it("expression completes variables with their types, and methods after them", async () => {
    const { page, problems } = await gateway.page();
    await page.goto(`${gateway.url}policies/new`);
    await page.getByRole("textbox", { name: "Expression" }).click();
    await page.keyboard.type("cost");
    const options = page.locator(".cm-tooltip-autocomplete li");
    await options.filter({ hasText: "cost_usd" }).filter({ hasText: "double" }).first().waitFor();
    await page.keyboard.press("Control+a");
    await page.keyboard.type("model.st");
    // Typing completes too, but on a busy machine the previous list may still be closing.
    await page.keyboard.press("Control+Space");
    await options.filter({ hasText: "startsWith" }).first().waitFor();
    expect(problems).toEqual([]);
  });
});

describe("list of traces", () => {
  it("keeps its filters after a reload, and after opening a trace", async () => {
    const { page, problems } = await gateway.page();
    await page.goto(`${gateway.url}traces`);
    await page.getByRole("button", { name: "Filter" }).click();
    await page
      .getByRole("dialog", { name: "Filters" })
      .getByRole("button", { name: /gpt-4o-mini/ })
      .click();
    await page.waitForURL(/model=gpt-4o-mini/);
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "OK", exact: true }).click();
    await page.waitForURL(/status=ok/);
    await page.reload();
    await page.getByRole("list", { name: "Filters" }).getByText("gpt-4o-mini").waitFor();
    expect(await page.getByRole("button", { name: "OK", exact: true }).getAttribute("aria-pressed")).toBe("true");
    await page.locator("tbody tr").first().waitFor();
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    await page.keyboard.press("k");
    const first = await page.locator("tbody tr").first().getAttribute("id");
    expect(await page.locator("tr[aria-current]").getAttribute("id")).toBe(first);
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/traces\/[0-9a-f]{32}\?.*model=gpt-4o-mini/);
    await page.getByRole("tree").waitFor();
    await page.keyboard.press("Escape");
    await page.waitForURL(/\/traces\?.*status=ok/);
    expect(problems).toEqual([]);
  });

  it("filters by matching policy, and by a user that is not set", async () => {
    const { page, problems } = await gateway.page();
    const user = unique("watched");
    const made = await page.request.post(`${gateway.url}api/policies`, {
      data: { name: user, expression: `user_id == "${user}"`, action: "alert" },
    });
    const { id } = (await made.json()) as { id: string };
    const { trace } = await gateway.call({ "x-user-id": user });
    await gateway.call({ "x-luner-agent": user });
    await page.goto(`${gateway.url}policies`);
    await page.getByRole("button", { name: `Actions for ${user}` }).click();
    await page.getByRole("menuitem", { name: "Matched traces" }).click();
    await page.waitForURL(new RegExp(`policy=${id}`));
    await page.locator(`#trace-${trace}`).waitFor();
    expect(await page.locator("tbody tr").count()).toBe(1);
    await page.getByRole("list", { name: "Filters" }).getByText(user).waitFor();
    await page.getByRole("button", { name: "Remove the filter Matched by" }).click();
    await page.goto(`${gateway.url}traces?agent_name=${user}`);
    await page.getByRole("button", { name: "Filter", exact: true }).click();
    const users = page.getByRole("dialog", { name: "Filters" }).locator("section", { hasText: "User" });
    await users.getByRole("button", { name: /not set/ }).click();
    await page.waitForURL(/unnamed=user_id/);
    await page.reload();
    await page.getByRole("list", { name: "Filters" }).getByText("not set").waitFor();
    // The filters appear before the list has been read.
    await page.locator("tbody tr").first().waitFor();
    expect(await page.locator("tbody tr").count()).toBe(1);
    expect(problems).toEqual([]);
  });

  it("exports the filtered traces", async () => {
    const { page, problems } = await gateway.page();
    const user = unique("exported");
    for (let n = 0; n < 3; n += 1) await gateway.call({ "x-user-id": user });
    await page.goto(`${gateway.url}traces?user_id=${user}`);
    await page.locator("tbody tr").nth(2).waitFor();
    await page.getByRole("button", { name: "Export" }).click();
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("menuitem", { name: "As CSV" }).click(),
    ]);
    const text = await readFile(await download.path(), "utf8");
    expect(text.trim().split("\r\n")).toHaveLength(4);
    expect(text.match(new RegExp(user, "g"))).toHaveLength(3);
    expect(problems).toEqual([]);
  });
});

describe("trace", () => {
  it("selects spans by keyboard, and keeps the selection in the URL", async () => {
    const { page, problems } = await gateway.page();
    const { trace } = await gateway.call();
    await page.goto(`${gateway.url}traces/${trace}`);
    const items = page.getByRole("treeitem");
    await items.first().click();
    await page.keyboard.press("ArrowDown");
    await page.waitForURL(/span=/);
    await page.reload();
    await items.nth(1).waitFor();
    expect(await items.nth(1).getAttribute("aria-selected")).toBe("true");
    expect(problems).toEqual([]);
  });

  it("that is not stored shows an empty state", async () => {
    const { page, problems } = await gateway.page();
    await page.goto(`${gateway.url}traces/${"ab".repeat(16)}`);
    await page.getByText("Trace not found").waitFor();
    expect(problems).toEqual([]);
  });
});

describe("period", () => {
  it("is kept across pages and a reload", async () => {
    const { page, problems } = await gateway.page();
    await page.goto(gateway.url);
    await page.getByRole("button", { name: "Last 24 hours" }).click();
    await page.getByRole("button", { name: "Last hour" }).click();
    await page.waitForURL(/range=1h/);
    await page.getByRole("link", { name: "Traces" }).click();
    await page.waitForURL(/traces\?range=1h/);
    await page.reload();
    await page.getByRole("button", { name: "Last hour" }).waitFor();
    expect(problems).toEqual([]);
  });
});

describe.skipIf(LUNER_URL)("sign-in", () => {
  const guarded = new TestGateway();
  beforeAll(() => guarded.start({ token: "a-token-of-sixteen", traces: 500 }));
  afterAll(() => guarded.stop());

  it("refuses a wrong token, and returns to the requested page with the right one", async () => {
    const { page, problems } = await guarded.page();
    await page.goto(`${guarded.url}traces?status=ok`);
    await page.waitForURL(/sign-in/);
    await page.getByLabel("Admin token").fill("wrong");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("This is not the admin token.").waitFor();
    await page.getByLabel("Admin token").fill("a-token-of-sixteen");
    await page.keyboard.press("Enter");
    await page.waitForURL(/traces\?status=ok/);
    await page.locator("tbody tr").first().waitFor();
    expect(await page.evaluate(() => document.cookie)).toBe("");
    await page.keyboard.press("Control+k");
    await page.keyboard.type("sign out");
    await page.getByRole("option", { name: "Sign out Console" }).waitFor();
    await page.keyboard.press("Enter");
    await page.waitForURL(/sign-in/);
    await page.goto(`${guarded.url}policies`);
    await page.waitForURL(/sign-in/);
    expect(problems).toEqual([]);
  });
});
