// Shared by the tests: a client of a running luner, and the controls of the mock provider. Run through tests/sdk/run.sh.

import OpenAI from "openai";

const { LUNER_URL, LUNER_PID, MOCK_URL, CALLER_KEY } = process.env;
if (!LUNER_URL || !MOCK_URL) throw new Error("LUNER_URL and MOCK_URL are not set; run tests/sdk/run.sh node");

// Without LUNER_PID, the clients talk to a mock directly (SDK_BASE_URL), for the development of these tests.
export const lunerOnly = { skip: LUNER_PID ? false : "only luner does this, and SDK_BASE_URL points to something else" };
export const behindLuner = Boolean(LUNER_PID);

// Longest wait for an effect after a request. Arbitrary and generous: nothing is measured with it.
const WAIT_MS = 30_000;

// A client's timeout, so that a hanging gateway fails one test and not the whole run. Arbitrary.
const CLIENT_TIMEOUT_MS = 45_000;

export const client = new OpenAI({ baseURL: `${LUNER_URL}/v1`, apiKey: CALLER_KEY, maxRetries: 0, timeout: CLIENT_TIMEOUT_MS });

export const userMessage = (content) => [{ role: "user", content }];

/** The provider behind luner: arms faults and returns its ledger. */
export const mock = {
  arm: (fault, times = 1) => control("POST", "/mock/fault", { fault, times }),
  entries: async () => (await control("GET", "/mock/ledger")).entries,
  /** Waits until no call is in flight at the provider. */
  settle: () =>
    eventually(async () => (await control("GET", "/mock/ledger")).totals.in_flight === 0, "the provider's calls ended"),
  reset: async () => {
    await control("DELETE", "/mock/fault");
    await control("DELETE", "/mock/ledger");
  },
};

async function control(method, path, body) {
  const answer = await fetch(MOCK_URL + path, {
    method,
    headers: { "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

/** Waits for the condition's first truthy value and returns it. Throws if none comes in time. */
export async function eventually(condition, what) {
  const end = performance.now() + WAIT_MS;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > end) throw new Error(`did not happen within ${WAIT_MS} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export async function collect(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}
