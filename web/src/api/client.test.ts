import { afterEach, describe, expect, it, vi } from "vitest";
import { NEW_DRAFT } from "@/features/policies/changes";
import { ApiError, apiUrl, errorFrom, get, post } from "./client";

afterEach(() => {
  vi.unstubAllGlobals();
  document.head.replaceChildren();
});

const stubFetch = (status: number, body: string) =>
  vi.stubGlobal(
    "fetch",
    vi.fn(async () => new Response(status === 204 ? null : body, { status })),
  );
const setBase = (href: string) => {
  const element = document.head.appendChild(document.createElement("base"));
  element.href = href;
};

describe("an API URL", () => {
  it("is relative to the page's base and escapes its parameters", () => {
    setBase("http://localhost/console/");
    expect(apiUrl("/api/policies/{id}", { id: "../x?y#z" })).toBe("/console/api/policies/..%2Fx%3Fy%23z");
  });

  it("omits unset parameters", () => {
    setBase("http://localhost/");
    expect(apiUrl("/api/traces", {}, { q: "a b&c", user_id: undefined, page: 2, model: "" })).toBe(
      "/api/traces?q=a+b%26c&page=2",
    );
  });
});

describe("a failure", () => {
  it("carries the status, the code and the details", async () => {
    stubFetch(
      400,
      JSON.stringify({
        error: { message: "`name`: is missing", type: "invalid_request_error", param: "name", code: "invalid_value" },
        details: [{ param: "name", message: "is missing", position: null }],
      }),
    );
    const error = await post("/api/policies", { body: { ...NEW_DRAFT, expression: "true" } }).catch((error) => error);
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({
      status: 400,
      param: "name",
      code: "invalid_value",
      details: [{ param: "name" }],
      isTransient: false,
    });
  });

  it("without luner's error shape is blamed on a proxy", async () => {
    stubFetch(502, "<html>Bad gateway</html>");
    const error = await get("/api/config").catch((error) => error);
    expect(error).toMatchObject({ status: 502, code: null, isTransient: true });
    expect(error.message).toContain("A proxy in between");
  });

  it("to reach the gateway is transient", async () => {
    vi.stubGlobal(
      "fetch",
      vi.fn(async () => Promise.reject(new TypeError("failed to fetch"))),
    );
    expect(await get("/api/config").catch((error) => error)).toMatchObject({
      status: 0,
      code: "unreachable",
      isTransient: true,
    });
  });

  it("with a malformed body is an ApiError", () => {
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
      expect(errorFrom(500, body)).toBeInstanceOf(ApiError);
  });

  it("is reported when a 200 answer is not JSON", async () => {
    stubFetch(200, "<html>Sign in to the hotel's network</html>");
    expect(await get("/api/config").catch((error) => error)).toBeInstanceOf(ApiError);
  });
});

describe("a call", () => {
  it("reads health from a 503 while draining", async () => {
    stubFetch(503, JSON.stringify({ status: "draining" }));
    expect(await get("/api/health")).toEqual({ status: "draining" });
  });

  it("sends a content type only with a body", async () => {
    stubFetch(200, "{}");
    await get("/api/config");
    const [, request] = vi.mocked(fetch).mock.calls[0] ?? [];
    expect(request?.headers).not.toHaveProperty("content-type");
  });
});
