import { afterEach, describe, expect, it, vi } from "vitest";
import { NEW } from "@/features/policies/changes";
import { ApiError, address, errorIn, get, post } from "./client";

afterEach(() => {
  vi.unstubAllGlobals();
  document.head.replaceChildren();
});

const answers = (status: number, body: string) =>
  vi.stubGlobal(
    "fetch",
    vi.fn(async () => new Response(status === 204 ? null : body, { status })),
  );
const base = (href: string) => {
  const element = document.head.appendChild(document.createElement("base"));
  element.href = href;
};

describe("an address", () => {
  it("lies under the page's base and escapes what it is given", () => {
    base("http://localhost/console/");
    expect(address("/api/policies/{id}", { id: "../x?y#z" })).toBe("/console/api/policies/..%2Fx%3Fy%23z");
  });

  it("leaves out what is not set", () => {
    base("http://localhost/");
    expect(address("/api/traces", {}, { q: "a b&c", user_id: undefined, page: 2, model: "" })).toBe(
      "/api/traces?q=a+b%26c&page=2",
    );
  });
});

describe("a failure", () => {
  it("carries all that the gateway said", async () => {
    answers(
      400,
      JSON.stringify({
        error: { message: "`name`: is missing", type: "invalid_request_error", param: "name", code: "invalid_value" },
        details: [{ param: "name", message: "is missing", position: null }],
      }),
    );
    const error = await post("/api/policies", { body: { ...NEW, expression: "true" } }).catch((it) => it);
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({
      status: 400,
      param: "name",
      code: "invalid_value",
      details: [{ param: "name" }],
      passing: false,
    });
  });

  it("of something in between is said to be that", async () => {
    answers(502, "<html>Bad gateway</html>");
    const error = await get("/api/config").catch((it) => it);
    expect(error).toMatchObject({ status: 502, code: null, passing: true });
    expect(error.message).toContain("A proxy in between");
  });

  it("to reach the gateway at all may pass", async () => {
    vi.stubGlobal(
      "fetch",
      vi.fn(async () => Promise.reject(new TypeError("failed to fetch"))),
    );
    expect(await get("/api/config").catch((it) => it)).toMatchObject({ status: 0, code: "unreachable", passing: true });
  });

  it("with odd shapes is an error all the same", () => {
    for (const body of [
      null,
      undefined,
      5,
      "x",
      [],
      { error: null },
      { error: { message: 5 } },
      { error: {}, details: "x" },
    ])
      expect(errorIn(500, body)).toBeInstanceOf(ApiError);
  });

  it("in a good status is not taken for an answer", async () => {
    answers(200, "<html>Sign in to the hotel's network</html>");
    expect(await get("/api/config").catch((it) => it)).toBeInstanceOf(ApiError);
  });
});

describe("an answer", () => {
  it("while draining is the health that it tells", async () => {
    answers(503, JSON.stringify({ status: "draining" }));
    expect(await get("/api/health")).toEqual({ status: "draining" });
  });

  it("says it is JSON only when it sends some", async () => {
    answers(200, "{}");
    await get("/api/config");
    const [, request] = vi.mocked(fetch).mock.calls[0] ?? [];
    expect(request?.headers).not.toHaveProperty("content-type");
  });
});
