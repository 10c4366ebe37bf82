// Requests as applications send them, from a few made-up ones: for tests that need something to look at, and for load.
import { Agent, request } from "node:http";

const AGENTS = ["support-bot", "research-agent", "batch-job", "playground"];
const USERS = ["ana", "ben", "chidi", "dora", "emeka"];
const TENANTS = ["acme", "globex", "trial"];
const MODELS = ["gpt-4o", "gpt-4o-mini", "gpt-4o-mini", "text-model"];
/** One in so many fails at the provider. */
const FAILS_EVERY = 23;

/** The call number `n`: the same number is the same call. */
function made(n) {
  const model = n % FAILS_EVERY === FAILS_EVERY - 1 ? "gpt-4o+fault=status=500" : MODELS[n % MODELS.length];
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

/** Makes one call; ends with its status. */
function call(url, agent, n) {
  const { headers, body } = made(n);
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

/** Makes `count` calls, `lanes` at a time. */
export async function send(url, count, lanes = 4) {
  const agent = new Agent({ keepAlive: true, maxSockets: lanes });
  let next = 0;
  const lane = async () => {
    while (next < count) {
      next += 1;
      await call(url, agent, next);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  agent.destroy();
}

/** Makes `perSecond` calls a second until it is stopped; `sent` counts those that were answered. */
export function keepSending(url, perSecond) {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const started = performance.now();
  let begun = 0;
  const traffic = { sent: 0, stop: () => {} };
  const timer = setInterval(
    () => {
      // Against the clock, so that a late beat is made up for.
      for (const due = ((performance.now() - started) / 1000) * perSecond; begun < due; ) {
        begun += 1;
        call(url, agent, begun).then((status) => {
          if (status > 0) traffic.sent += 1;
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

/** Until so many traces can be read. */
export async function stored(url, count, headers = {}) {
  for (;;) {
    const answer = await (await fetch(`${url}api/traces?page_size=1`, { headers })).json();
    if (answer.total >= count) return;
    await new Promise((later) => setTimeout(later, 50));
  }
}
