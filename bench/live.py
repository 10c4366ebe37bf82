#!/usr/bin/env python3
"""Measures a luner that runs: QPS, latency, hit rate, statuses and memory of three scenarios, one after the other.

  cache hit     one prompt, again and again, at temperature 0; the first call goes to the provider
  cold          each prompt different, at temperature 0: a miss and a call to the provider each; fills the cache
  rate-limited  one model whose provider has a small limit: what the limit lets pass goes to the provider, the rest is 429

Calls to a provider may cost money. So it refuses to start while a provider of the gateway is neither on the loopback
interface nor a host called mock-llm, or when it may not look: --yes-spend says that you want it. Each scenario is bounded in
time, and the cold one in requests. Hit rate and statuses are what /api/metrics/live counted meanwhile, other callers included;
memory is the process's resident set, where it runs on this machine. With server.admin.token set, give it in LUNER_ADMIN_TOKEN.
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

from run import progress, read_wrk

# A limit beyond these is not small: the scenario would measure calls, and pay for them.
LIMIT_QPS_MOST, LIMIT_BURST_MOST = 5, 50
# Shards report about every second; the rest is for a busy machine.
COUNT_PATIENCE_S = 10
UPTIME_TICK_S = 0.01
# Beyond the time of a scenario, for answers under way.
WRK_PATIENCE_S = 30


@dataclasses.dataclass
class Measured:
    scenario: str
    qps: float
    p50_us: float
    p99_us: float
    hit_rate: float | None  # none: nothing was looked up
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
    rows.append(measure(gateway, pid, "cold", cold_script(args.model, args.requests), args))
    if limited:
        rows.append(measure(gateway, pid, "rate-limited", limited_script(limited), args))
    progress("")
    print(table(rows))
    print(f"\n{args.connections} connections for {args.seconds} s each, the cold ones for at most {args.requests:,} requests; "
          f"{args.model}, rate-limited: {limited or 'none'}.")
    if not limited:
        print(f"Left out: rate-limited. No provider has a limit of at most {LIMIT_QPS_MOST} requests a second "
              f"and a burst of {LIMIT_BURST_MOST}; see --limited-model.")


def arguments():
    parser = argparse.ArgumentParser(prog="bench/bench.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="of the gateway: http://127.0.0.1:8080")
    parser.add_argument("--quick", action="store_true", help="2 s and 1,000 requests instead of 10 s and 20,000")
    parser.add_argument("--seconds", type=bounded(1, 300), help="of each scenario")
    parser.add_argument("--requests", type=bounded(1, 1_000_000), help="of the cold scenario, at most")
    parser.add_argument("--connections", type=bounded(1, 1000), default=20, help="20 by default")
    parser.add_argument("--model", default="gpt-4o", help="of the first two scenarios, gpt-4o by default")
    parser.add_argument("--limited-model", help="one whose provider has a small limit; looked for by default")
    parser.add_argument("--yes-spend", action="store_true", help="call providers that may cost money")
    args = parser.parse_args()
    args.seconds = args.seconds or (2 if args.quick else 10)
    args.requests = args.requests or (1_000 if args.quick else 20_000)
    return args


def bounded(least, most):
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
            die(f"no luner answers at {self.url}{path}: {error}")

    def providers(self):
        """None where it may not look."""
        try:
            return self.get("/api/providers")["items"]
        except urllib.error.HTTPError:
            return None

    def counted(self):
        live = self.get("/api/metrics/live")
        return live["cache"]["hits"], live["cache"]["misses"], live["requests_by_status"]


def refuse_to_spend(providers, yes):
    if yes:
        return
    if providers is None:
        die("the gateway does not say who its providers are (set LUNER_ADMIN_TOKEN), so this may cost money: --yes-spend if you want that")
    real = [f"{it['name']} ({it['base_url']})" for it in providers if not costs_nothing(it["base_url"])]
    if real:
        die(f"this may cost money: {', '.join(real)} may be real; --yes-spend if you want that")


def costs_nothing(base_url):
    host = urllib.parse.urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", "mock-llm")


def limited_model(providers, told):
    """A model that only providers with small limits serve: what is over one provider's limit goes to the next."""
    if providers is None:
        return told
    small = lambda it: it["limit"] and it["limit"]["qps"] <= LIMIT_QPS_MOST and it["limit"]["burst"] <= LIMIT_BURST_MOST
    models = {model for it in providers for model in it["models"] if "*" not in model}
    fit = sorted(model for model in models if all(small(it) for it in providers if model in it["models"]))
    if told and told not in fit:
        die(f"{told}: no provider with a limit of at most {LIMIT_QPS_MOST} requests a second and a burst of {LIMIT_BURST_MOST} alone "
            f"serves it; there {'are ' + ', '.join(fit) if fit else 'is none'}")
    return told or next(iter(fit), None)


# What wrk runs. `[=[` so that no prompt can end it.

HEAD = 'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.headers["X-Luner-Agent"] = "bench"\n'


def body(model, prompt, temperature):
    return json.dumps({"model": model, "temperature": temperature, "messages": [{"role": "user", "content": prompt}]})


def hit_script(model):
    return f"{HEAD}wrk.body = [=[{body(model, f'How does a gateway route a request? {secrets.token_hex(8)}', 0)}]=]\n"


def limited_script(model):
    return f"{HEAD}wrk.body = [=[{body(model, 'How does a limit refill?', 0.7)}]=]\n"


def cold_script(model, most):
    """Stops by itself, and says after how long, because wrk reckons with the whole time; what is under way comes on top."""
    before, after = body(model, f"{secrets.token_hex(8)} PLACE", 0).split("PLACE")
    return (f"{HEAD}local asked, began = 0, 0\n"
            "local function uptime()\n"
            '  local file = io.open("/proc/uptime")\n'
            '  local seconds = file:read("*n")\n'
            "  file:close()\n"
            "  return seconds\n"
            "end\n"
            "function request()\n"
            "  asked = asked + 1\n"
            # Of /proc/uptime, to 10 ms: Lua itself tells whole seconds.
            "  if asked == 1 then began = uptime() end\n"
            f"  if asked == {most} then\n"
            "    wrk.thread:stop()\n"
            '    print("stopped after " .. uptime() - began .. " s")\n'
            "  end\n"
            f"  return wrk.format(nil, nil, nil, [=[{before}]=] .. asked .. [=[{after}]=])\n"
            "end\n")


def measure(gateway, pid, scenario, script, args):
    progress(scenario)
    hits, misses, statuses = gateway.counted()
    with tempfile.NamedTemporaryFile("w", prefix="luner-bench-", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = ["wrk", "-t1", f"-c{args.connections}", f"-d{args.seconds}s", "--timeout", "10s", "--latency", "-s", file.name,
                   f"{gateway.url}/v1/chat/completions"]
        output = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                timeout=args.seconds + WRK_PATIENCE_S).stdout
    got = read_wrk(output)
    if not got or not got.count:
        die(f"{scenario}: no answers\n{output}")
    stopped = re.search(r"stopped after ([\d.]+) s", output)
    qps = got.count / max(float(stopped[1]), UPTIME_TICK_S) if stopped else got.qps
    end = time.monotonic() + COUNT_PATIENCE_S
    while True:
        now_hits, now_misses, now_statuses = gateway.counted()
        mix = {status: count - statuses.get(status, 0) for status, count in now_statuses.items() if count > statuses.get(status, 0)}
        if sum(mix.values()) >= got.count:
            break
        if time.monotonic() > end:
            die(f"{scenario}: wrk got {got.count:,} answers, and the gateway counted {sum(mix.values()):,}")
        time.sleep(0.2)
    hits, misses = now_hits - hits, now_misses - misses
    rate = hits / (hits + misses) if hits + misses else None
    return Measured(scenario, qps, got.p50_us, got.p99_us, rate, mix, memory_of(pid))


def pid_of_listener(url):
    """Of the luner on this machine that listens on the URL's port; none if there is none, or we may not look."""
    parts = urllib.parse.urlsplit(url)
    if not costs_nothing(url):  # not a loopback address
        return None
    port = f":{parts.port or 80:04X}"
    rows = [line.split() for table in ("tcp", "tcp6") for line in read(f"/proc/net/{table}").splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(port) and row[3] == "0A"}  # TCP_LISTEN
    for descriptors in pathlib.Path("/proc").glob("[0-9]*/fd"):
        if read(descriptors.parent / "comm").strip() != "luner":
            continue
        try:
            if any(os.readlink(it) in sockets for it in descriptors.iterdir()):
                return int(descriptors.parent.name)
        except OSError:  # ended, or another user's
            continue
    return None


def memory_of(pid):
    found = pid and re.search(r"VmRSS:\s+(\d+) kB", read(f"/proc/{pid}/status"))
    return int(found[1]) * 1024 if found else None


def read(path):
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


def die(text):
    progress("")
    sys.exit(f"bench: {text}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
