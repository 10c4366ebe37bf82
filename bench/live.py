#!/usr/bin/env python3
"""Measures a running luner: requests per second, latency, hit rate, statuses and memory of three scenarios, one after another.

  cache hit     one prompt, again and again, at temperature 0; only the first call goes to the provider
  cold          a new prompt each time, at temperature 0: each is a miss and a call to the provider, and fills the cache
  rate-limited  a model whose provider has a small limit: calls within the limit go to the provider, the others get 429

Calls to a provider may cost money. Unless --yes-spend is given, this program refuses to start if a provider of the gateway is
neither on the loopback interface nor a host called mock-llm, or if the gateway does not reveal its providers. Each scenario is
limited in time, and the cold one in requests. Hit rate and statuses are those of /api/metrics/live in the meantime, with the
requests of other callers. Memory is the resident set of the process, if it runs on this machine. If server.admin.token is set,
put it into LUNER_ADMIN_TOKEN.
"""

import argparse
import dataclasses
import ipaddress
import json
import os
import pathlib
import re
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from run import progress, parse_wrk

# A limit above these is not small: the scenario would mostly measure calls to the provider, and pay for them.
SMALL_LIMIT_QPS_MAX, SMALL_LIMIT_BURST_MAX = 5, 50
# Shards report about every second. The rest is for a busy machine.
COUNT_TIMEOUT_S = 10
UPTIME_TICK_S = 0.01
# Time that wrk may take beyond a scenario, for answers in flight.
WRK_EXTRA_S = 30


@dataclasses.dataclass
class Result:
    scenario: str
    qps: float
    p50_us: float
    p99_us: float
    hit_rate: float | None  # None: there was no lookup
    statuses: dict
    memory: int | None


def main():
    args = arguments()
    gateway = Gateway(args.url)
    gateway.get("/api/health")
    providers = gateway.providers()
    refuse_to_spend(providers, args.yes_spend)
    limited = limited_model(providers, args.limited_model)
    pid = pid_of_listener(gateway.url)

    rows = [measure(gateway, pid, "cache hit", hit_script(args.model), args)]
    rows.append(measure(gateway, pid, "cold", miss_script(args.model, args.requests), args))
    if limited:
        rows.append(measure(gateway, pid, "rate-limited", limited_script(limited), args))
    progress("")
    print(table(rows))
    print(f"\n{args.connections} connections for {args.seconds} s per scenario, at most {args.requests:,} cold requests; "
          f"model {args.model}, rate-limited model {limited or 'none'}.")
    if not limited:
        print(f"Left out: rate-limited. No provider has a limit of at most {SMALL_LIMIT_QPS_MAX} requests a second "
              f"and a burst of {SMALL_LIMIT_BURST_MAX}; see --limited-model.")


def arguments():
    parser = argparse.ArgumentParser(prog="bench/bench.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="URL of the gateway: http://127.0.0.1:8080")
    parser.add_argument("--quick", action="store_true", help="2 s and 1,000 requests instead of 10 s and 20,000")
    parser.add_argument("--seconds", type=integer_between(1, 300), help="length of each scenario")
    parser.add_argument("--requests", type=integer_between(1, 1_000_000), help="most requests of the cold scenario")
    parser.add_argument("--connections", type=integer_between(1, 1000), default=20, help="number of connections, 20 by default")
    parser.add_argument("--model", default="gpt-4o", help="model of the first two scenarios, gpt-4o by default")
    parser.add_argument("--limited-model", help="model whose provider has a small limit; by default any such model")
    parser.add_argument("--yes-spend", action="store_true", help="call providers that may cost money")
    args = parser.parse_args()
    args.seconds = args.seconds or (2 if args.quick else 10)
    args.requests = args.requests or (1_000 if args.quick else 20_000)
    return args


def integer_between(least, most):
    def number(text):
        if not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"from {least:,} to {most:,}")
        return int(text)
    return number


class Gateway:
    def __init__(self, url):
        self.url = url.rstrip("/").removesuffix("/v1")
        token = os.environ.get("LUNER_ADMIN_TOKEN")
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path):
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=self.headers), timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError:
            raise
        except (OSError, ValueError) as error:
            fail(f"no luner answers at {self.url}{path}: {error}")

    def providers(self):
        """The providers. None if this caller may not see them."""
        try:
            return self.get("/api/providers")["items"]
        except urllib.error.HTTPError:
            return None

    def counters(self):
        live = self.get("/api/metrics/live")
        return live["cache"]["hits"], live["cache"]["misses"], live["requests_by_status"]


def refuse_to_spend(providers, yes):
    if yes:
        return
    if providers is None:
        fail("the gateway does not reveal its providers (set LUNER_ADMIN_TOKEN), so this may cost money; --yes-spend allows it")
    real = [f"{provider['name']} ({provider['base_url']})" for provider in providers if not is_free(provider["base_url"])]
    if real:
        fail(f"this may cost money: {', '.join(real)} may be real; --yes-spend allows it")


def is_free(base_url):
    host = urllib.parse.urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", "mock-llm")


def limited_model(providers, requested):
    """A model that only providers with small limits serve. Calls over the limit of one provider go to the next."""
    if providers is None:
        return requested
    small = lambda provider: provider["limit"] and provider["limit"]["qps"] <= SMALL_LIMIT_QPS_MAX and provider["limit"]["burst"] <= SMALL_LIMIT_BURST_MAX
    models = {model for provider in providers for model in provider["models"] if "*" not in model}
    suitable = sorted(model for model in models if all(small(provider) for provider in providers if model in provider["models"]))
    if requested and requested not in suitable:
        fail(f"{requested}: no provider with a limit of at most {SMALL_LIMIT_QPS_MAX} requests a second and a burst of "
             f"{SMALL_LIMIT_BURST_MAX}, or others serve it too; suitable models: {', '.join(suitable) or 'none'}")
    return requested or next(iter(suitable), None)


# Scripts for wrk, in Lua. No prompt contains `]=]`, which would end the string.

HEAD = 'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.headers["X-Luner-Agent"] = "bench"\n'


def body(model, prompt, temperature):
    return json.dumps({"model": model, "temperature": temperature, "messages": [{"role": "user", "content": prompt}]})


def hit_script(model):
    return f"{HEAD}wrk.body = [=[{body(model, f'How does a gateway route a request? {secrets.token_hex(8)}', 0)}]=]\n"


def limited_script(model):
    return f"{HEAD}wrk.body = [=[{body(model, 'How does a limit refill?', 0.7)}]=]\n"


def miss_script(model, limit):
    """Stops after `limit` requests and prints after how long, because wrk divides by the whole time. Requests in flight are extra."""
    before, after = body(model, f"{secrets.token_hex(8)} PLACE", 0).split("PLACE")
    return (f"{HEAD}local sent, started = 0, 0\n"
            "local function uptime()\n"
            '  local file = io.open("/proc/uptime")\n'
            '  local seconds = file:read("*n")\n'
            "  file:close()\n"
            "  return seconds\n"
            "end\n"
            "function request()\n"
            "  sent = sent + 1\n"
            # /proc/uptime has a resolution of 10 ms, Lua's own clock of a second.
            "  if sent == 1 then started = uptime() end\n"
            f"  if sent == {limit} then\n"
            "    wrk.thread:stop()\n"
            '    print("stopped after " .. uptime() - started .. " s")\n'
            "  end\n"
            f"  return wrk.format(nil, nil, nil, [=[{before}]=] .. sent .. [=[{after}]=])\n"
            "end\n")


def measure(gateway, pid, scenario, script, args):
    progress(scenario)
    hits, misses, statuses = gateway.counters()
    with tempfile.NamedTemporaryFile("w", prefix="luner-bench-", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = ["wrk", "-t1", f"-c{args.connections}", f"-d{args.seconds}s", "--timeout", "10s", "--latency", "-s", file.name,
                   f"{gateway.url}/v1/chat/completions"]
        output = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                timeout=args.seconds + WRK_EXTRA_S).stdout
    result = parse_wrk(output)
    if not result or not result.count:
        fail(f"{scenario}: no answers\n{output}")
    stopped = re.search(r"stopped after ([\d.]+) s", output)
    qps = result.count / max(float(stopped[1]), UPTIME_TICK_S) if stopped else result.qps
    end = time.monotonic() + COUNT_TIMEOUT_S
    while True:
        now_hits, now_misses, now_statuses = gateway.counters()
        new_statuses = {status: count - statuses.get(status, 0) for status, count in now_statuses.items() if count > statuses.get(status, 0)}
        if sum(new_statuses.values()) >= result.count:
            break
        if time.monotonic() > end:
            fail(f"{scenario}: wrk result {result.count:,} answers, and the gateway counted {sum(new_statuses.values()):,}")
        time.sleep(0.2)
    hits, misses = now_hits - hits, now_misses - misses
    rate = hits / (hits + misses) if hits + misses else None
    return Result(scenario, qps, result.p50_us, result.p99_us, rate, new_statuses, memory_of(pid))


def pid_of_listener(url):
    """The pid of the luner on this machine that listens on the URL's port. None if there is none, or if it is not visible."""
    parts = urllib.parse.urlsplit(url)
    if not is_free(url):  # not a loopback address
        return None
    port = f":{parts.port or 80:04X}"
    rows = [line.split() for table in ("tcp", "tcp6") for line in read_text(f"/proc/net/{table}").splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(port) and row[3] == "0A"}  # TCP_LISTEN
    for descriptors in pathlib.Path("/proc").glob("[0-9]*/fd"):
        if read_text(descriptors.parent / "comm").strip() != "luner":
            continue
        try:
            if any(os.readlink(link) in sockets for link in descriptors.iterdir()):
                return int(descriptors.parent.name)
        except OSError:  # the process has ended, or belongs to another user
            continue
    return None


def memory_of(pid):
    found = pid and re.search(r"VmRSS:\s+(\d+) kB", read_text(f"/proc/{pid}/status"))
    return int(found[1]) * 1024 if found else None


def read_text(path):
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""


def table(rows):
    lines = [["scenario", "requests/s", "p50 ms", "p99 ms", "hit rate", "statuses", "memory"]]
    for row in rows:
        lines.append([
            row.scenario, f"{row.qps:,.0f}", f"{row.p50_us / 1000:,.2f}", f"{row.p99_us / 1000:,.2f}",
            "n/a" if row.hit_rate is None else f"{row.hit_rate:.1%}",
            ", ".join(f"{status}: {count:,}" for status, count in sorted(row.statuses.items())),
            "n/a" if row.memory is None else f"{row.memory / 2**20:.1f} MiB",
        ])
    widths = [max(map(len, column)) for column in zip(*lines)]
    numbers = [False, True, True, True, True, False, True]
    cells = lambda line: " | ".join(text.rjust(width) if number else text.ljust(width)
                                    for text, width, number in zip(line, widths, numbers))
    rule = "|".join("-" * (width + 1) + (":" if number else "-") for width, number in zip(widths, numbers))
    return "\n".join([f"| {cells(lines[0])} |", f"|{rule}|", *(f"| {cells(line)} |" for line in lines[1:])])


def fail(text):
    progress("")
    sys.exit(f"bench: {text}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
