// Sends made-up chat requests: for tests that need traces, and for load.
import { Agent, request } from "node:http";

const AGENTS = ["support-bot", "research-agent", "batch-job", "playground"];
const USERS = ["ana", "ben", "chidi", "dora", "emeka"];
const TENANTS = ["acme", "globex", "trial"];
const MODELS = ["gpt-4o", "gpt-4o-mini", "gpt-4o-mini", "text-model"];
/** Every 23rd request fails at the provider. Arbitrary: a few failures among 60 requests. */
const FAILURE_INTERVAL = 23;

/** Request number `n`. The same number gives the same request. */
function madeUpRequest(n) {
  const model = n % FAILURE_INTERVAL === FAILURE_INTERVAL - 1 ? "gpt-4o+fault=status=500" : MODELS[n % MODELS.length];
  return {
    headers: {
      "content-type": "application/json",
      "x-luner-user": USERS[n % USERS.length],
      "x-luner-tenant": TENANTS[n % TENANTS.length],
      "x-luner-agent": AGENTS[(n >> 1) % AGENTS.length],
    },
    body: JSON.stringify({ model, messages: [{ role: "user", content: `Question ${n % 500}: say something.` }] }),
  };
}

/** Sends one request. Resolves to its status, or 0 if there was no answer. */
function call(url, agent, n) {
  const { headers, body } = madeUpRequest(n);
  return new Promise((done) => {
    const sent = request(
      new URL("v1/chat/completions", url),
      { method: "POST", agent, headers: { ...headers, "content-length": Buffer.byteLength(body) } },
      (answer) => {
        answer.resume();
        answer.on("end", () => done(answer.statusCode));
        answer.on("error", () => done(0));
      },
    );
    sent.on("error", () => done(0));
    sent.end(body);
  });
}

/** Sends `count` requests, `concurrency` at a time. */
export async function sendRequests(url, count, concurrency = 4) {
  const agent = new Agent({ keepAlive: true, maxSockets: concurrency });
  let next = 0;
  const worker = async () => {
    while (next < count) {
      next += 1;
      await call(url, agent, next);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  agent.destroy();
}

/** Sends `perSecond` requests a second until stopped. `answered` counts the answers. */
export function startTraffic(url, perSecond) {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const started = performance.now();
  let begun = 0;
  const traffic = { answered: 0, stop: () => {} };
  const timer = setInterval(
    () => {
      // Counts from the start, so that a late timer is made up for.
      for (const due = ((performance.now() - started) / 1000) * perSecond; begun < due; ) {
        begun += 1;
        call(url, agent, begun).then((status) => {
          if (status > 0) traffic.answered += 1;
        });
      }
    },
    Math.min(500, Math.max(10, 1000 / perSecond)),
  );
  traffic.stop = () => {
    clearInterval(timer);
    agent.destroy();
  };
  return traffic;
}

/** Waits until the API lists `count` traces. */
export async function waitForTraces(url, count, headers = {}) {
  for (;;) {
    const answer = await (await fetch(`${url}api/traces?page_size=1`, { headers })).json();
    if (answer.total >= count) return;
    await new Promise((later) => setTimeout(later, 50));
  }
}
