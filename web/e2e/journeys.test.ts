// The paths that people take, in a real browser. Against the fixture, or a luner at LUNER_URL that serves gpt-4o-mini.
import { readFile } from "node:fs/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Console, LUNER_URL } from "./support";

const it_ = new Console();
beforeAll(() => it_.start());
afterEach(() => it_.closePages());
afterAll(() => it_.stop());

/** Unlike any other run's. */
const unique = (word: string) => `${word}-${Math.random().toString(36).slice(2, 8)}`;

describe("a request", () => {
  it("appears in the live tail, and its trace opens with its spans, tokens and cost", async () => {
    const { page, problems } = await it_.page();
    const user = unique("walker");
    await page.goto(`${it_.url}traces?live=1&user_id=${user}`);
    await page.getByRole("status").getByText("Live").waitFor();
    const { trace, status, tokens } = await it_.call({ "x-user-id": user, "x-luner-agent": "e2e" });
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

  it("is found by its pasted id, from the list and from the palette", async () => {
    const { page, problems } = await it_.page();
    const { trace } = await it_.call();
    await page.goto(`${it_.url}traces`);
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

describe("a policy", () => {
  it("is written with a mistake first, replayed, saved, blocks the next call, and off lets it pass", async () => {
    const { page, problems } = await it_.page();
    const user = unique("stopped");
    const name = unique("stop");
    expect((await it_.call({ "x-user-id": user })).status).toBe(200);

    await page.goto(`${it_.url}policies`);
    await page.getByRole("link", { name: "New policy" }).click();
    await page.getByLabel("Name", { exact: true }).fill(name);
    const editor = page.getByRole("textbox", { name: "Expression" });
    await editor.click();
    await page.keyboard.type(`usr_id == "${user}`);
    await page.getByText(/Line 1, column 1: /).waitFor();
    await page.locator(".cm-lintRange-error", { hasText: "usr_id" }).waitFor();
    // What Replace all would do: the closing quote was typed by the editor.
    await page.keyboard.press("Control+a");
    await page.keyboard.type(`user_id == "${user}`);
    await page.getByText("It reads user_id.").waitFor();
    expect(await page.locator(".cm-lintRange-error").count()).toBe(0);

    const replay = page.getByRole("region", { name: "Would have matched" });
    await replay.getByText(/of [\d,]+ requests would have been blocked/).waitFor();
    await replay.getByText("1", { exact: true }).waitFor();
    await replay.getByRole("link").filter({ hasText: user }).waitFor();

    await page.getByRole("radio", { name: /Enforce/ }).check({ force: true });
    await page.getByRole("button", { name: "Create policy" }).click();
    await page.getByText(`“${name}” is saved and acts from the next request on.`).waitFor();
    expect((await it_.call({ "x-user-id": user })).status).toBe(403);

    await page.getByRole("switch", { name: `${name} is on` }).click();
    await page.getByText(`“${name}” is off from the next request on.`).waitFor();
    expect((await it_.call({ "x-user-id": user })).status).toBe(200);
    expect(problems).toEqual([]);
  });

  it("is deleted, brought back by undo, and both are written down", async () => {
    const { page, problems } = await it_.page();
    const name = unique("gone");
    const made = await page.request.post(`${it_.url}api/policies`, {
      data: { name, expression: "false", action: "alert" },
    });
    expect(made.status()).toBe(201);
    await page.goto(`${it_.url}policies`);
    await page.getByRole("button", { name: `Actions for ${name}` }).click();
    await page.getByRole("menuitem", { name: "Delete" }).click();
    await page.getByText(`“${name}” is deleted and no longer acts.`).waitFor();
    await page.getByRole("link", { name }).waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Undo" }).click();
    await page.getByRole("link", { name }).waitFor();
    await page.goto(`${it_.url}changes`);
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

  it("with a taken name is refused at its field, and unsaved work is not left by accident", async () => {
    const { page, problems } = await it_.page();
    const name = unique("taken");
    await page.request.post(`${it_.url}api/policies`, { data: { name, expression: "false", action: "alert" } });
    await page.goto(`${it_.url}policies/new`);
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

  it("completes variables with their types, and functions after them", async () => {
    const { page, problems } = await it_.page();
    await page.goto(`${it_.url}policies/new`);
    await page.getByRole("textbox", { name: "Expression" }).click();
    await page.keyboard.type("cost");
    const options = page.locator(".cm-tooltip-autocomplete li");
    await options.filter({ hasText: "cost_usd" }).filter({ hasText: "double" }).first().waitFor();
    await page.keyboard.press("Control+a");
    await page.keyboard.type("model.st");
    // Typing asks too, unless it is faster than a busy machine closes the list before.
    await page.keyboard.press("Control+Space");
    await options.filter({ hasText: "startsWith" }).first().waitFor();
    expect(problems).toEqual([]);
  });
});

describe("the list", () => {
  it("keeps its filters over a reload, and on the way to a trace and back", async () => {
    const { page, problems } = await it_.page();
    await page.goto(`${it_.url}traces`);
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

  it("shows what a policy matched, and who was not named", async () => {
    const { page, problems } = await it_.page();
    const user = unique("watched");
    const made = await page.request.post(`${it_.url}api/policies`, {
      data: { name: user, expression: `user_id == "${user}"`, action: "alert" },
    });
    const { id } = (await made.json()) as { id: string };
    const { trace } = await it_.call({ "x-user-id": user });
    await it_.call({ "x-luner-agent": user });
    await page.goto(`${it_.url}policies`);
    await page.getByRole("button", { name: `Actions for ${user}` }).click();
    await page.getByRole("menuitem", { name: "Traces it matched" }).click();
    await page.waitForURL(new RegExp(`policy=${id}`));
    await page.locator(`#trace-${trace}`).waitFor();
    expect(await page.locator("tbody tr").count()).toBe(1);
    await page.getByRole("list", { name: "Filters" }).getByText(user).waitFor();
    await page.getByRole("button", { name: "Remove the filter Matched by" }).click();
    await page.goto(`${it_.url}traces?agent_name=${user}`);
    await page.getByRole("button", { name: "Filter", exact: true }).click();
    const users = page.getByRole("dialog", { name: "Filters" }).locator("section", { hasText: "User" });
    await users.getByRole("button", { name: /not named/ }).click();
    await page.waitForURL(/unnamed=user_id/);
    await page.reload();
    await page.getByRole("list", { name: "Filters" }).getByText("not named").waitFor();
    expect(await page.locator("tbody tr").count()).toBe(1);
    expect(problems).toEqual([]);
  });

  it("is exported as it is filtered", async () => {
    const { page, problems } = await it_.page();
    const user = unique("exported");
    for (let n = 0; n < 3; n += 1) await it_.call({ "x-user-id": user });
    await page.goto(`${it_.url}traces?user_id=${user}`);
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

describe("a trace", () => {
  it("links to a span, and is walked by keys", async () => {
    const { page, problems } = await it_.page();
    const { trace } = await it_.call();
    await page.goto(`${it_.url}traces/${trace}`);
    const items = page.getByRole("treeitem");
    await items.first().click();
    await page.keyboard.press("ArrowDown");
    await page.waitForURL(/span=/);
    await page.reload();
    await items.nth(1).waitFor();
    expect(await items.nth(1).getAttribute("aria-selected")).toBe("true");
    expect(problems).toEqual([]);
  });

  it("that is not stored says so", async () => {
    const { page, problems } = await it_.page();
    await page.goto(`${it_.url}traces/${"ab".repeat(16)}`);
    await page.getByText("This trace is not stored").waitFor();
    expect(problems).toEqual([]);
  });
});

describe("the period", () => {
  it("goes along from page to page and survives a reload", async () => {
    const { page, problems } = await it_.page();
    await page.goto(it_.url);
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

describe.skipIf(LUNER_URL)("signing in", () => {
  const guarded = new Console();
  beforeAll(() => guarded.start({ token: "a-token-of-sixteen", traces: 500 }));
  afterAll(() => guarded.stop());

  it("with a wrong token is refused, with the right one leads to where one wanted to go", async () => {
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
