#!/usr/bin/env python3
"""A tour of luner with the OpenAI client: what the gateway does for an application and for those who run it.

    python3 demo.py

The tour checks everything that it shows. Its exit code is 0 if every check passes, 1 with an explanation if one fails, and 2 if luner
cannot be reached or asks for a token. It deletes what it creates, even when interrupted.
"""

import os
import re
import secrets
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import openai

import llm_client as luner
from llm_client import ApiError, api, openai_client

RUN = secrets.token_hex(4)  # part of every prompt and name, so that two runs never interfere
# Seconds. A trace appears within about one; the rest is for a busy machine.
TRACE_PATIENCE_S = 20
# Reaching a higher limit would take too many calls. Arbitrary.
LIMIT_QPS_MAX, LIMIT_BURST_MAX = 2, 20
COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")


class Unexpected(Exception):
    """A check failed; the message explains it to the reader."""


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sections = [health, tracing, cache, rate_limiting, policies, metrics, recent_traces, streaming]
    try:
        for number, section in enumerate(sections, 1):
            print(f"\n{paint('1;36', f'{number}  {section.__doc__}')}")
            section()
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except (Unexpected, ApiError, openai.APIError, OSError) as error:
        return explain(error)
    print(f"\n{paint('32', 'All of it held.')} The console: {luner.URL}/")
    return 0


def explain(error):
    """Prints why the tour ended, and returns the exit code."""
    status = getattr(error, "status", getattr(error, "status_code", None))
    sys.stdout.flush()
    if isinstance(error, (openai.APIConnectionError, OSError)):
        cause = getattr(error, "reason", None) or error.__cause__ or error
        return fail(2, f"luner cannot be reached at {luner.URL}: {cause}\n"
                       "Start it with `luner demo`, or set LUNER_URL to its address.")
    if status == 401 and luner.ADMIN_TOKEN:
        return fail(2, f"luner at {luner.URL} does not accept the token in LUNER_ADMIN_TOKEN: {error}")
    if status == 401:
        return fail(2, f"luner at {luner.URL} wants its admin token for this: set LUNER_ADMIN_TOKEN to the value of server.admin.token.\n{error}")
    return fail(1, f"A check failed: {error}")


def fail(code, text):
    print(f"\n{paint('31', text, sys.stderr)}", file=sys.stderr)
    return code


# The sections of the tour, in order.


def health():
    """Health"""
    state = api("GET", "/api/health")
    line("gateway", f"luner {state['version']} at {luner.URL}")
    line("state", f"{state['status']}, storage {state['storage']}")
    line("event loops", f"{state['workers']} on {state['io']}")
    expect(state["status"] == "ok", f"luner's status is {state['status']}, not ok")
    expect(state["storage"] == "ok", f"traces and policies need storage, but it is {state['storage']}")
    providers = api("GET", "/api/providers")["items"]
    line("providers", ", ".join(provider["name"] for provider in providers))


def tracing():
    """Three agents, one trace"""
    trace_id = secrets.token_hex(16)
    traceparent = f"00-{trace_id}-{secrets.token_hex(8)}-01"
    task = f"Plan the launch of a small product (run {RUN})."
    for agent in ("planner", "researcher", "writer"):
        answer, headers = ask(f"You are the {agent}. {task}", agent=agent, traceparent=traceparent)
        expect(headers["x-luner-trace-id"] == trace_id, f"the {agent}'s call belongs to another trace: {headers['x-luner-trace-id']}")
        line(agent, f"{headers['x-luner-model']:<14} {answer.usage.total_tokens:>5} tokens  ${headers['x-luner-cost-usd']}")
        task = answer.choices[0].message.content
    summary = trace(trace_id, 3)["summary"]
    line("together", f"{summary['requests']} requests, {summary['tokens']['total']} tokens, ${summary['cost_usd']:.6f}")
    line("see", f"{luner.URL}/traces/{trace_id}")


def cache():
    """The same question twice"""
    question = f"What is the capital of France? (run {RUN})"
    costs = []
    for turn, wanted in (("first", "MISS"), ("second", "HIT")):
        start = time.monotonic()
        _, headers = ask(question, temperature=0)
        took_ms = (time.monotonic() - start) * 1000
        got, cost = headers["x-luner-cache"], float(headers["x-luner-cost-usd"])
        costs.append(cost)
        line(turn, f"{paint('32' if got == 'HIT' else '33', f'{got:<6}')} {took_ms:>7.1f} ms  ${cost:.6f}")
        expect(got == wanted, f"the {turn} call should be a cache {wanted} but is a {got} (is cache.enabled true?)")
    expect(costs[1] == 0, f"a cache hit should cost nothing, but costs ${costs[1]}")


def rate_limiting():
    """A provider's rate limit"""
    found = limited_model()
    if not found:
        return line("left out", f"no provider has a limit of at most {LIMIT_QPS_MAX} requests a second and a burst of {LIMIT_BURST_MAX}")
    model, name, limit = found
    line("limit", f"{model} at {name}: a burst of {limit['burst']}, then {limit['qps']:g} a second")
    client = openai_client(retries=0)

    def call(number):
        try:
            complete(client, f"Quick question {number} (run {RUN})", model=model)
            return None
        except openai.RateLimitError as error:
            return error

    count = limit["burst"] + 4
    with ThreadPoolExecutor(count) as pool:
        refused = [error for error in pool.map(call, range(count)) if error]
    line("at once", f"{count} calls: {count - len(refused)} passed, {len(refused)} refused with 429")
    expect(refused, f"{count} calls at once should exceed the limit of {name}, but all passed")
    expect(refused[0].code == "rate_limit_exceeded", f"the code of the error is {refused[0].code}")
    wait = refused[0].response.headers.get("retry-after")
    expect(wait, "the error does not say when to try again (retry-after)")
    line("the answer", f"{refused[0].code}, retry-after: {wait} s")
    # The SDK's own retries honour retry-after, so an application that leaves them on does not notice the limit.
    complete(openai_client(retries=5), f"Patient question (run {RUN})", model=model)
    line("with retries", "the SDK waited as long as retry-after says, then the call passed")


def policies():
    """Policies: create, enforce, change, remove"""
    agent = f"policy-demo-{RUN}"  # affects no other caller
    draft = {"name": f"demo {RUN}", "expression": f"agent == '{agent}'", "action": "block", "message": "Not during the demo."}
    try:
        api("POST", "/api/policies", {**draft, "expression": "cost_us > 1.0"})
        raise Unexpected("an expression with an unknown variable should be refused, but was accepted")
    except ApiError as error:
        expect(error.status == 400, f"a wrong expression should be answered with 400, not {error.status}: {error}")
        line("mistaken", f"400: {error}")

    policy = api("POST", "/api/policies", draft)
    path = f"/api/policies/{policy['id']}"
    try:
        line("created", f"{policy['action']} when {policy['expression']}")
        try:
            ask("Hello", agent=agent)
            raise Unexpected("the policy should block this call, but it passed")
        except openai.PermissionDeniedError as error:
            expect(error.code == "policy_violation", f"the code of the error is {error.code}")
            line("enforced", f"403 {error.code}: {error.body['message']}")

        api("PUT", path, {**draft, "action": "downgrade", "target_model": luner.SMALL_MODEL, "message": None})
        _, headers = ask("Hello", agent=agent)
        line("changed", f"downgrade: asked for {luner.MODEL}, answered by {headers['x-luner-model']}")
        expect(headers["x-luner-model"] == luner.SMALL_MODEL, f"the policy should move the call to {luner.SMALL_MODEL}")

        names = [item["name"] for item in api("GET", "/api/policies")["items"]]
        expect(draft["name"] in names, "the policy is not in the list")
        line("listed", f"{len(names)} policies, this one among them")
    finally:
        api("DELETE", path)
    _, headers = ask("Hello", agent=agent)
    expect("x-luner-policy" not in headers, "the policy was deleted but still acts")
    line("removed", f"the next request is unaffected: {headers['x-luner-model']} answered")


def metrics():
    """Metrics"""
    live, text = api("GET", "/api/metrics/live"), api("GET", "/metrics")
    line("cache", f"{live['cache']['hits']} hits, {live['cache']['misses']} misses, hit rate {live['cache']['hit_rate']:.1%}")
    line("by status", ", ".join(f"{status}: {count}" for status, count in sorted(live["requests_by_status"].items())))
    line("tokens", f"{live['tokens_by_type']['prompt']:,} in, {live['tokens_by_type']['completion']:,} out")
    for name in ("luner_requests_total", "luner_cost_usd_total", "luner_saved_usd_total"):
        total = sum(map(float, re.findall(rf"^{name}(?:\{{.*\}})? (\S+)", text, re.M)))
        line("prometheus", f"{name:<22} {total:,.6g}")
        expect(total > 0, f"{name} in {luner.URL}/metrics should be above 0 by now")


def recent_traces():
    """Recent traces"""
    page = api("GET", "/api/traces", page_size=8)
    expect(page["items"], "there should be traces by now, but the list is empty")
    head = f"{'at':<9} {'agent':<22} {'model':<22} {'status':>6} {'cache':<7} {'tokens':>7} {'cost':>10} {'ms':>9}"
    print(f"   {paint('2', head)}")
    for item in page["items"]:
        agent = item["agent_name"] or "–"
        print(f"   {item['started_at'][11:19]:<9} {agent:<22.22} {item['model']:<22.22} {item['status']:>6} {item['cache']:<7} "
              f"{item['tokens']['total']:>7,} {item['cost_usd']:>10.6f} {item['duration_ms']:>9.1f}")
    line("in all", f"{page['total']:,} traces")


def streaming():
    """Streaming"""
    start, first_ms, chunks = time.monotonic(), None, 0
    messages = [{"role": "user", "content": f"Tell me in one sentence what a gateway is for (run {RUN})"}]
    print("   ", end="")
    with openai_client().chat.completions.create(model=luner.MODEL, messages=messages, stream=True) as stream:
        for chunk in stream:
            text = chunk.choices[0].delta.content if chunk.choices else None
            if text:
                first_ms = first_ms or (time.monotonic() - start) * 1000
                chunks += 1
                print(text, end="", flush=True)
    print()
    expect(chunks > 1, f"a stream should come in several pieces, but came in {chunks}")
    line("stream", f"{chunks} pieces, the first after {first_ms:.0f} ms, the last after {(time.monotonic() - start) * 1000:.0f} ms")


# Functions that several sections use.


def ask(content, agent=luner.AGENT, traceparent=None, **more):
    """Returns an answer and its headers."""
    return complete(openai_client(agent, traceparent), content, **more)


def complete(client, content, model=luner.MODEL, temperature=0.7, **more):
    raw = client.chat.completions.with_raw_response.create(
        model=model, temperature=temperature, messages=[{"role": "user", "content": content}], **more)
    return raw.parse(), raw.headers


def trace(trace_id, requests):
    """Waits until the given number of requests of a trace is stored, which takes about a second, and returns the trace."""
    deadline = time.monotonic() + TRACE_PATIENCE_S
    while True:
        try:
            found = api("GET", f"/api/traces/{trace_id}")
            if found["summary"]["requests"] >= requests:
                return found
            missing = f"has {found['summary']['requests']} of {requests} requests"
        except ApiError as error:
            if error.status != 404:
                raise
            missing = "does not exist"
        expect(time.monotonic() < deadline, f"the trace {trace_id} {missing} after {TRACE_PATIENCE_S} s")
        time.sleep(0.2)


def limited_model():
    """Returns a model, the name of its provider and the limit; None if no limit is low enough to reach it here."""
    found = []
    for provider in api("GET", "/api/providers")["items"]:
        limit = provider["limit"]
        models = [model for model in provider["models"] if luner.LIMITED_MODEL in (model, None) and "*" not in model]
        if limit and models and limit["qps"] <= LIMIT_QPS_MAX and limit["burst"] <= LIMIT_BURST_MAX:
            found.append((models[0], provider["name"], limit))
    expect(found or not luner.LIMITED_MODEL, f"no provider with a low limit serves LUNER_LIMITED_MODEL={luner.LIMITED_MODEL}")
    return min(found, key=lambda candidate: candidate[2]["qps"], default=None)


def expect(condition, message):
    if not condition:
        raise Unexpected(message)


def line(name, text):
    print(f"   {paint('2', f'{name:<14}')} {text}", flush=True)


def paint(code, text, stream=sys.stdout):
    coloured = COLOUR if stream is sys.stdout else stream.isatty() and not os.environ.get("NO_COLOR")
    return f"\033[{code}m{text}\033[0m" if coloured else text


if __name__ == "__main__":
    sys.exit(main())
