// What the tests share: a client of a running luner, and the mock provider's controls. Run through tests/sdk/run.sh.

import OpenAI from "openai";

const { LUNER_URL, LUNER_PID, MOCK_URL, CALLER_KEY } = process.env;
if (!LUNER_URL || !MOCK_URL) throw new Error("LUNER_URL and MOCK_URL are not set; run tests/sdk/run.sh node");

// Without a process the clients talk to a mock directly (SDK_BASE_URL), which is for developing the tests.
export const lunerOnly = { skip: LUNER_PID ? false : "only luner does this, and SDK_BASE_URL points elsewhere" };
export const behindLuner = Boolean(LUNER_PID);

// How long something may take that happens by itself, after a request. Arbitrary, generous: nothing is measured with it.
const SETTLE_MS = 30_000;

// How long a client waits for an answer, so that a gateway that hangs fails a test and not the run. Arbitrary.
const HANG_MS = 45_000;

export const client = new OpenAI({ baseURL: `${LUNER_URL}/v1`, apiKey: CALLER_KEY, maxRetries: 0, timeout: HANG_MS });

export const said = (content) => [{ role: "user", content }];

/** The provider behind luner: arms faults, and tells what it saw. */
export const mock = {
  arm: (fault, times = 1) => control("POST", "/mock/fault", { fault, times }),
  entries: async () => (await control("GET", "/mock/ledger")).entries,
  /** Until no call is open at the provider any longer. */
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

/** The condition's first true value; fails if none comes. */
export async function eventually(condition, what) {
  const end = performance.now() + SETTLE_MS;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > end) throw new Error(`not within ${SETTLE_MS} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export async function collect(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}
