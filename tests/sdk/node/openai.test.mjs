// OpenAI's Node client against luner: usual calls, and how each failure reaches the application.

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";

import OpenAI from "openai";

import { behindLuner, client, collect, eventually, lunerOnly, mock, userMessage } from "./support.mjs";

const WEATHER = {
  type: "function",
  function: {
    name: "get_weather",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};

beforeEach(mock.reset);
afterEach(mock.settle);

describe("chat", () => {
  test("plain answer is complete", async () => {
    const completion = await client.chat.completions.create({ model: "gpt-4o", messages: userMessage("hello node") });
    assert.match(completion.choices[0].message.content, /You said: hello node$/);
    assert.equal(completion.choices[0].finish_reason, "stop");
    const { prompt_tokens, completion_tokens, total_tokens } = completion.usage;
    assert.equal(total_tokens, prompt_tokens + completion_tokens);
  });

  test("answer has request, trace, provider and model headers", lunerOnly, async () => {
    const call = client.chat.completions.create({ model: "gpt-4o", messages: userMessage("headers") });
    const { data, response, request_id } = await call.withResponse();
    assert.equal(response.headers.get("x-luner-provider"), "plain");
    assert.equal(response.headers.get("x-luner-model"), "gpt-4o");
    assert.ok(response.headers.get("x-luner-trace-id"));
    assert.ok(["MISS", "BYPASS"].includes(response.headers.get("x-luner-cache")));
    assert.equal(request_id, response.headers.get("x-request-id"));
    assert.equal(data._request_id, request_id);
  });

  test("stream has the same text as a plain answer, without usage", async () => {
    const request = { model: "gpt-4o", messages: userMessage("Größe 漢字 🌙") };
    const whole = await client.chat.completions.create(request);
    const chunks = await collect(await client.chat.completions.create({ ...request, stream: true }));
    const text = chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join("");
    assert.equal(text, whole.choices[0].message.content);
    assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
    assert.ok(chunks.every((chunk) => !chunk.usage));
  });

  test("stream ends with usage when requested", async () => {
    const request = { model: "gpt-4o", messages: userMessage("usage"), stream: true, stream_options: { include_usage: true } };
    const chunks = await collect(await client.chat.completions.create(request));
    assert.deepEqual(chunks.at(-1).choices, []);
    assert.ok(chunks.at(-1).usage.total_tokens > 0);
  });

  test("stream arrives piece by piece", async () => {
    const model = "gpt-4o+words=20+chunk-delay=50";
    const stream = await client.chat.completions.create({ model, messages: userMessage("slowly"), stream: true });
    let pieces = 0;
    let first = true;
    for await (const chunk of stream) {
      // Independent of timing: the first chunk has arrived, and the provider has not yet sent the last.
      if (first) assert.equal((await mock.entries())[0].done, false);
      first = false;
      if (chunk.choices[0].delta.content) pieces += 1;
    }
    assert.equal(pieces, 20);
  });

  test("aborting a stream cancels it at the provider", async () => {
    const model = "gpt-4o+words=2000+chunk-delay=50";
    const stream = await client.chat.completions.create({ model, messages: userMessage("too long"), stream: true });
    for await (const chunk of stream) {
      assert.ok(chunk.id);
      stream.controller.abort();
    }
    const left = async () => (await mock.entries()).find((entry) => entry.done);
    const entry = await eventually(left, "the provider sees the caller leave");
    assert.notEqual(entry.peer_closed_ms, null);
    assert.equal(entry.complete, false);
  });

  test("aborting a plain request raises an abort error", async () => {
    const model = "gpt-4o+latency=2000";
    const controller = new AbortController();
    const call = client.chat.completions.create({ model, messages: userMessage("never mind") }, { signal: controller.signal });
    const caught = assert.rejects(call, OpenAI.APIUserAbortError);
    await eventually(async () => (await mock.entries()).length, "the provider has the request");
    controller.abort();
    await caught;
  });

  test("tool is called, plain and streamed", async () => {
    const request = { model: "gpt-4o", messages: userMessage("what is the weather in Paris?"), tools: [WEATHER] };
    const completion = await client.chat.completions.create(request);
    const [call] = completion.choices[0].message.tool_calls;
    assert.equal(call.function.name, "get_weather");
    assert.deepEqual(JSON.parse(call.function.arguments), { city: "Paris" });

    const chunks = await collect(await client.chat.completions.create({ ...request, stream: true }));
    const calls = chunks.flatMap((chunk) => chunk.choices[0].delta.tool_calls ?? []);
    assert.equal(calls[0].function.name, "get_weather");
    assert.deepEqual(JSON.parse(calls.map((part) => part.function.arguments ?? "").join("")), { city: "Paris" });
    assert.equal(chunks.at(-1).choices[0].finish_reason, "tool_calls");
  });

  test("streaming helper assembles the answer", async () => {
    const runner = client.chat.completions.stream({ model: "gpt-4o", messages: userMessage("helper") });
    assert.match(await runner.finalContent(), /You said: helper$/);
  });

  test("two hundred callers get their own answers", async () => {
    const ask = async (number) => {
      const prompt = `caller ${number} of node`;
      const body = { model: "gpt-4o+latency=300", messages: userMessage(prompt) };
      if (number % 2) {
        const chunks = await collect(await client.chat.completions.create({ ...body, stream: true }));
        return [prompt, chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join("")];
      }
      return [prompt, (await client.chat.completions.create(body)).choices[0].message.content];
    };
    for (const [prompt, answer] of await Promise.all(Array.from({ length: 200 }, (_, number) => ask(number)))) {
      assert.ok(answer.endsWith(`You said: ${prompt}`), `${prompt}: ${answer}`);
    }
  });
});

describe("the other endpoints", () => {
  test("models are listed and retrieved", async () => {
    const names = (await collect(client.models.list())).map((model) => model.id);
    assert.ok(names.includes("gpt-4o"));
    assert.equal((await client.models.retrieve("gpt-4o")).object, "model");
    await assert.rejects(client.models.retrieve("no-such-model"), OpenAI.NotFoundError);
  });

  test("embeddings agree in floats and base64", async () => {
    const request = { model: "text-embedding-3-small", input: ["one", "two"], dimensions: 8 };
    // By default, the SDK requests base64 and decodes it.
    const unpacked = await client.embeddings.create(request);
    const floats = await client.embeddings.create({ ...request, encoding_format: "float" });
    for (const [index, { embedding }] of unpacked.data.entries()) {
      assert.equal(embedding.length, 8);
      embedding.forEach((number, at) => assert.ok(Math.abs(number - floats.data[index].embedding[at]) < 1e-6));
    }
  });

  test("completion is returned plain and streamed", async () => {
    const request = { model: "gpt-3.5-turbo-instruct", prompt: "once upon" };
    const completion = await client.completions.create(request);
    const chunks = await collect(await client.completions.create({ ...request, stream: true }));
    assert.match(completion.choices[0].text, /You said: once upon$/);
    assert.equal(chunks.map((chunk) => chunk.choices[0].text).join(""), completion.choices[0].text);
  });

  test("response is returned plain and streamed", async () => {
    const request = { model: "gpt-4o", input: "hello responses" };
    const response = await client.responses.create(request);
    assert.match(response.output_text, /You said: hello responses$/);
    const events = await collect(await client.responses.create({ ...request, stream: true }));
    const deltas = events.filter((event) => event.type === "response.output_text.delta");
    assert.equal(deltas.map((event) => event.delta).join(""), response.output_text);
    assert.equal(events.at(-1).type, "response.completed");
  });
});

describe("errors", () => {
  const fail = (model, more) => client.chat.completions.create({ model, messages: userMessage("please fail"), ...more });

  test("unknown model raises not found", lunerOnly, async () => {
    await assert.rejects(fail("no-such-model"), (error) => {
      assert.ok(error instanceof OpenAI.NotFoundError);
      assert.equal(error.code, "model_not_found");
      assert.equal(error.type, "invalid_request_error");
      assert.ok(error.requestID);
      return true;
    });
  });

  test("messages of the wrong type raise bad request", async () => {
    await assert.rejects(fail("gpt-4o", { messages: "not a list" }), OpenAI.BadRequestError);
  });

  test("provider's 429 raises a rate limit error with its retry-after", async () => {
    await assert.rejects(fail("gpt-4o+fault=rate-limit=7"), (error) => {
      assert.ok(error instanceof OpenAI.RateLimitError);
      assert.equal(error.headers.get("retry-after"), "7");
      return true;
    });
  });

  test("provider's 500 raises an internal server error", async () => {
    await assert.rejects(fail("gpt-4o+fault=status=500"), OpenAI.InternalServerError);
    await assert.rejects(fail("gpt-4o+fault=status=500", { stream: true }), OpenAI.InternalServerError);
  });

  test("refused connection raises 502", lunerOnly, async () => {
    await assert.rejects(fail("refused"), { status: 502, code: "provider_error", type: "server_error" });
  });

  test("silent provider raises 504", lunerOnly, async () => {
    await assert.rejects(fail("gpt-4o+fault=hang"), { status: 504, code: "upstream_timeout", type: "timeout" });
  });

  test("client's retries succeed once the provider recovers", async () => {
    await mock.arm("status=503", 2);
    const body = { model: "recovers", messages: userMessage("try again") };
    const completion = await client.chat.completions.create(body, { maxRetries: 3 });
    assert.equal(completion.choices[0].finish_reason, "stop");
    assert.deepEqual((await mock.entries()).map((entry) => entry.status), [503, 503, 200]);
  });

  test("truncated stream raises", async () => {
    for (const fault of ["close-mid-stream=3", "reset-mid-stream=3", ...(behindLuner ? ["no-done"] : [])]) {
      const received = [];
      const read = async () => {
        const stream = await fail(`gpt-4o+fault=${fault}+chunk-delay=20`, { stream: true });
        for await (const chunk of stream) received.push(chunk);
      };
      // luner sends an error event and then breaks the connection. Node's fetch drops unread data when the connection
      // breaks, so the client may throw for either.
      await assert.rejects(read(), Error, fault);
      assert.ok(received.length > 0, "the events before the break are delivered");
    }
  });
});

describe("the provider's request", lunerOnly, () => {
  test("has neither the key nor the identity of the caller", async () => {
    const headers = { "X-User-ID": "alice-canary", "X-Luner-Tenant": "acme-canary", "X-Luner-Agent": "agent-canary" };
    await client.chat.completions.create({ model: "gpt-4o", messages: userMessage("who am I?") }, { headers });
    const [entry] = await mock.entries();
    const seen = JSON.stringify(entry.headers);
    assert.ok(!seen.includes(process.env.CALLER_KEY), seen);
    for (const [name, value] of Object.entries(headers)) {
      assert.ok(!seen.includes(value) && !seen.includes(name.toLowerCase()), seen);
    }
    assert.ok(seen.includes("Bearer sk-provider-canary-8c1f"));
  });
});
