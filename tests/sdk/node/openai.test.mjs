// OpenAI's Node client against luner: what an application does with it, and how each failure reaches it.

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";

import OpenAI from "openai";

import { behindLuner, client, collect, eventually, lunerOnly, mock, said } from "./support.mjs";

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
  test("an answer is whole", async () => {
    const completion = await client.chat.completions.create({ model: "gpt-4o", messages: said("hello node") });
    assert.match(completion.choices[0].message.content, /You said: hello node$/);
    assert.equal(completion.choices[0].finish_reason, "stop");
    const { prompt_tokens, completion_tokens, total_tokens } = completion.usage;
    assert.equal(total_tokens, prompt_tokens + completion_tokens);
  });

  test("an answer names its request, trace, provider and model", lunerOnly, async () => {
    const call = client.chat.completions.create({ model: "gpt-4o", messages: said("headers") });
    const { data, response, request_id } = await call.withResponse();
    assert.equal(response.headers.get("x-luner-provider"), "plain");
    assert.equal(response.headers.get("x-luner-model"), "gpt-4o");
    assert.ok(response.headers.get("x-luner-trace-id"));
    assert.ok(["MISS", "BYPASS"].includes(response.headers.get("x-luner-cache")));
    assert.equal(request_id, response.headers.get("x-request-id"));
    assert.equal(data._request_id, request_id);
  });

  test("a stream says the same as a whole answer, without usage", async () => {
    const ask = { model: "gpt-4o", messages: said("Größe 漢字 🌙") };
    const whole = await client.chat.completions.create(ask);
    const chunks = await collect(await client.chat.completions.create({ ...ask, stream: true }));
    const text = chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join("");
    assert.equal(text, whole.choices[0].message.content);
    assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
    assert.ok(chunks.every((chunk) => !chunk.usage));
  });

  test("a stream ends with usage when asked", async () => {
    const ask = { model: "gpt-4o", messages: said("usage"), stream: true, stream_options: { include_usage: true } };
    const chunks = await collect(await client.chat.completions.create(ask));
    assert.deepEqual(chunks.at(-1).choices, []);
    assert.ok(chunks.at(-1).usage.total_tokens > 0);
  });

  test("a stream arrives piece by piece", async () => {
    const model = "gpt-4o+words=20+chunk-delay=50";
    const stream = await client.chat.completions.create({ model, messages: said("slowly"), stream: true });
    let pieces = 0;
    let first = true;
    for await (const chunk of stream) {
      // Not a matter of time: the first chunk is here while the provider has not yet said the last.
      if (first) assert.equal((await mock.entries())[0].done, false);
      first = false;
      if (chunk.choices[0].delta.content) pieces += 1;
    }
    assert.equal(pieces, 20);
  });

  test("a caller that aborts a stream ends it at the provider", async () => {
    const model = "gpt-4o+words=2000+chunk-delay=50";
    const stream = await client.chat.completions.create({ model, messages: said("too long"), stream: true });
    for await (const chunk of stream) {
      assert.ok(chunk.id);
      stream.controller.abort();
    }
    const left = async () => (await mock.entries()).find((entry) => entry.done);
    const entry = await eventually(left, "the provider saw the caller leave");
    assert.notEqual(entry.peer_closed_ms, null);
    assert.equal(entry.complete, false);
  });

  test("a caller that aborts a whole answer gets an abort", async () => {
    const model = "gpt-4o+latency=2000";
    const controller = new AbortController();
    const call = client.chat.completions.create({ model, messages: said("never mind") }, { signal: controller.signal });
    const caught = assert.rejects(call, OpenAI.APIUserAbortError);
    await eventually(async () => (await mock.entries()).length, "the provider has the request");
    controller.abort();
    await caught;
  });

  test("a tool is called, whole and streamed", async () => {
    const ask = { model: "gpt-4o", messages: said("what is the weather in Paris?"), tools: [WEATHER] };
    const completion = await client.chat.completions.create(ask);
    const [call] = completion.choices[0].message.tool_calls;
    assert.equal(call.function.name, "get_weather");
    assert.deepEqual(JSON.parse(call.function.arguments), { city: "Paris" });

    const chunks = await collect(await client.chat.completions.create({ ...ask, stream: true }));
    const calls = chunks.flatMap((chunk) => chunk.choices[0].delta.tool_calls ?? []);
    assert.equal(calls[0].function.name, "get_weather");
    assert.deepEqual(JSON.parse(calls.map((part) => part.function.arguments ?? "").join("")), { city: "Paris" });
    assert.equal(chunks.at(-1).choices[0].finish_reason, "tool_calls");
  });

  test("the streaming helper assembles an answer", async () => {
    const runner = client.chat.completions.stream({ model: "gpt-4o", messages: said("helper") });
    assert.match(await runner.finalContent(), /You said: helper$/);
  });

  test("two hundred callers get their own answers", async () => {
    const ask = async (number) => {
      const prompt = `caller ${number} of node`;
      const body = { model: "gpt-4o+latency=300", messages: said(prompt) };
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
    const ask = { model: "text-embedding-3-small", input: ["one", "two"], dimensions: 8 };
    // The SDK asks for base64 unless told otherwise, and unpacks it.
    const unpacked = await client.embeddings.create(ask);
    const floats = await client.embeddings.create({ ...ask, encoding_format: "float" });
    for (const [index, { embedding }] of unpacked.data.entries()) {
      assert.equal(embedding.length, 8);
      embedding.forEach((number, at) => assert.ok(Math.abs(number - floats.data[index].embedding[at]) < 1e-6));
    }
  });

  test("a completion is whole and streamed", async () => {
    const ask = { model: "gpt-3.5-turbo-instruct", prompt: "once upon" };
    const completion = await client.completions.create(ask);
    const chunks = await collect(await client.completions.create({ ...ask, stream: true }));
    assert.match(completion.choices[0].text, /You said: once upon$/);
    assert.equal(chunks.map((chunk) => chunk.choices[0].text).join(""), completion.choices[0].text);
  });

  test("a response is whole and streamed", async () => {
    const ask = { model: "gpt-4o", input: "hello responses" };
    const response = await client.responses.create(ask);
    assert.match(response.output_text, /You said: hello responses$/);
    const events = await collect(await client.responses.create({ ...ask, stream: true }));
    const deltas = events.filter((event) => event.type === "response.output_text.delta");
    assert.equal(deltas.map((event) => event.delta).join(""), response.output_text);
    assert.equal(events.at(-1).type, "response.completed");
  });
});

describe("errors", () => {
  const fail = (model, more) => client.chat.completions.create({ model, messages: said("please fail"), ...more });

  test("an unknown model is not found", lunerOnly, async () => {
    await assert.rejects(fail("no-such-model"), (error) => {
      assert.ok(error instanceof OpenAI.NotFoundError);
      assert.equal(error.code, "model_not_found");
      assert.equal(error.type, "invalid_request_error");
      assert.ok(error.requestID);
      return true;
    });
  });

  test("messages of the wrong shape are a bad request", async () => {
    await assert.rejects(fail("gpt-4o", { messages: "not a list" }), OpenAI.BadRequestError);
  });

  test("a provider's 429 is a rate limit error with its retry-after", async () => {
    await assert.rejects(fail("gpt-4o+fault=rate-limit=7"), (error) => {
      assert.ok(error instanceof OpenAI.RateLimitError);
      assert.equal(error.headers.get("retry-after"), "7");
      return true;
    });
  });

  test("a provider's 500 is an internal server error", async () => {
    await assert.rejects(fail("gpt-4o+fault=status=500"), OpenAI.InternalServerError);
    await assert.rejects(fail("gpt-4o+fault=status=500", { stream: true }), OpenAI.InternalServerError);
  });

  test("a refused connection is a 502", lunerOnly, async () => {
    await assert.rejects(fail("refused"), { status: 502, code: "provider_error", type: "server_error" });
  });

  test("a provider that never answers is a 504", lunerOnly, async () => {
    await assert.rejects(fail("gpt-4o+fault=hang"), { status: 504, code: "upstream_timeout", type: "timeout" });
  });

  test("the client's retries overcome a provider that recovers", async () => {
    await mock.arm("status=503", 2);
    const body = { model: "recovers", messages: said("try again") };
    const completion = await client.chat.completions.create(body, { maxRetries: 3 });
    assert.equal(completion.choices[0].finish_reason, "stop");
    assert.deepEqual((await mock.entries()).map((entry) => entry.status), [503, 503, 200]);
  });

  test("a stream that breaks off never ends silently", async () => {
    for (const fault of ["close-mid-stream=3", "reset-mid-stream=3", ...(behindLuner ? ["no-done"] : [])]) {
      const received = [];
      const read = async () => {
        const stream = await fail(`gpt-4o+fault=${fault}+chunk-delay=20`, { stream: true });
        for await (const chunk of stream) received.push(chunk);
      };
      // An error event says why, and the connection ends badly: Node's fetch drops what is unread when it sees the
      // second, so either may be what the client throws.
      await assert.rejects(read(), Error, fault);
      assert.ok(received.length > 0, "what came before the break is delivered");
    }
  });
});

describe("what the provider sees", lunerOnly, () => {
  test("neither the caller's key nor the caller's identity", async () => {
    const headers = { "X-User-ID": "alice-canary", "X-Luner-Tenant": "acme-canary", "X-Luner-Agent": "agent-canary" };
    await client.chat.completions.create({ model: "gpt-4o", messages: said("who am I?") }, { headers });
    const [entry] = await mock.entries();
    const seen = JSON.stringify(entry.headers);
    assert.ok(!seen.includes(process.env.CALLER_KEY), seen);
    for (const [name, value] of Object.entries(headers)) {
      assert.ok(!seen.includes(value) && !seen.includes(name.toLowerCase()), seen);
    }
    assert.ok(seen.includes("Bearer sk-provider-canary-8c1f"));
  });
});
