#!/usr/bin/env python3
"""Measures the rows of bench/run.sh. Standard library only.

The server under test runs on core 0 with one worker, wrk and mock-llm run on core 1. Rows take turns (A B A B), and each
figure is the median of its rounds. Only ratios within one run mean anything, because machines are shared and noisy.

To add a row, add a line to ROWS. A variant of luner is an entry in LUNER_VARIANTS, a comparison is a line in RATIOS.
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

GATEWAY_CORE, LOAD_CORE = 0, 1
CONNECTIONS = 50
REQUEST_BYTES = 620  # a short chat request with wrk's head
ANSWER_BYTES = 600  # the size of the raw responder's answer
NGINX_HEAD_BYTES = 148  # the head of nginx's 200 with a length of three digits, as nginx.conf configures it
STREAM_WORDS = 64  # one delta each; the events for role, finish reason and [DONE] are extra
OTHERS_SHARE_MAX = 0.05  # of the gateway's core; arbitrary: a quiet machine stays below it
TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")

BENCH = pathlib.Path(__file__).resolve().parent

ALL_OFF = {"cache": {"enabled": False}, "rate_limit": {"enabled": False}, "storage": {"backend": "none"}}

CACHED = {**ALL_OFF, "cache": {"enabled": True}}
# Everything on: three policies that read usage, usage windows, a rate limit, the cache, traces in SQLite.
GOVERNED = {"rate_limit": {"providers": [{"name": "mock", "qps": 1_000_000, "burst": 1_000_000}]}}
# Everything on except traces.
UNTRACED = {**GOVERNED, "storage": {"traces": False}}
LIMITED = {**ALL_OFF, "rate_limit": {"providers": [{"name": "mock", "qps": 0.001, "burst": 1}]}}
BLOCKING = {"cache": {"enabled": False}}

# Policies that read usage and never match.
NEVER_BLOCKING = [
    ("spent", "cost_usd > 1000000.0"),
    ("asked", "request_count > 1000000000 && model == 'gpt-4o'"),
    ("used", "tokens_used > 1000000000000"),
]

# name: (mock, config besides server and providers, policies that block)
LUNER_VARIANTS = {
    "luner": ("mock-plain", ALL_OFF, []),
    "luner-streaming": ("mock-stream", ALL_OFF, []),
    "luner-cached": ("mock-plain", CACHED, []),
    "luner-governed": ("mock-plain", GOVERNED, NEVER_BLOCKING),
    "luner-untraced": ("mock-plain", UNTRACED, NEVER_BLOCKING),
    "luner-limited": ("mock-plain", LIMITED, []),
    "luner-blocking": ("mock-plain", BLOCKING, [("all", "request_count > 0")]),
}


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    what: str
    server: str  # a key of Setup.urls
    body: dict = dataclasses.field(default_factory=dict)  # members besides model and messages
    status: int = 200


STREAM = {"stream": True}
CACHEABLE = {"temperature": 0}
ROWS = [
    Row("raw", "raw monoio responder", "raw"),
    Row("nginx-200", "nginx return 200", "nginx-200"),
    Row("nginx-proxy", "nginx proxy_pass", "nginx-proxy"),
    Row("luner-proxy", "luner proxy", "luner"),
    Row("luner-proxy-governed", "luner proxy, governed", "luner-governed"),
    Row("luner-proxy-untraced", "luner proxy, governed, without traces", "luner-untraced"),
    Row("luner-hit", "luner cache hit, ungoverned", "luner-cached", CACHEABLE),
    Row("luner-hit-governed", "luner cache hit, governed", "luner-governed", CACHEABLE),
    Row("luner-hit-untraced", "luner cache hit, governed, without traces", "luner-untraced", CACHEABLE),
    Row("luner-429", "luner, beyond a rate limit", "luner-limited", status=429),
    Row("luner-403", "luner, blocked by a policy", "luner-blocking", status=403),
    Row("nginx-stream", f"nginx proxy_pass, unbuffered, stream of {STREAM_WORDS} words", "nginx-stream", STREAM),
    Row("luner-stream", f"luner, stream of {STREAM_WORDS} words", "luner-streaming", STREAM),
]

# row, base, target for the ratio of CPU per request (None: no target)
RATIOS = [
    ("nginx-200", "raw", None),
    ("luner-proxy", "nginx-proxy", 1.0),
    ("luner-proxy-governed", "nginx-proxy", 1.0),
    ("luner-proxy-governed", "luner-proxy", 1.1),
    ("luner-proxy-governed", "luner-proxy-untraced", 1.15),
    ("luner-hit-governed", "luner-hit-untraced", 1.15),
    ("luner-hit-governed", "nginx-200", 1.15),
    ("luner-hit-governed", "raw", 1.35),
    ("luner-hit-governed", "luner-hit", 1.1),
    ("luner-429", "luner-hit-governed", None),
    ("luner-403", "luner-hit-governed", None),
    ("luner-stream", "nginx-stream", 1.3),
]


@dataclasses.dataclass
class Sample:
    cpu_us: float  # of the server, per request
    qps: float
    p50_us: float
    p99_us: float
    busy: float  # the server's share of the gateway's core
    others: float  # the share of all other programs


class Setup:
    """The servers of a run: starts them, knows their pids and URLs, and always stops them."""

    def __init__(self, binaries, directory):
        self.binaries, self.dir = binaries, directory
        self.processes, self.pids, self.urls = [], {}, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self, rows):
        needed = {row.server for row in rows}
        self.start_listening("mock-plain", LOAD_CORE, ["mock-llm", "--no-ledger", "--words", "1"])
        self.start_listening("mock-stream", LOAD_CORE, ["mock-llm", "--no-ledger", "--words", str(STREAM_WORDS)])
        if "raw" in needed:
            self.start_listening("raw", GATEWAY_CORE, ["raw-responder"])
        if any(name.startswith("nginx") for name in needed):
            self.start_nginx()
        for name in LUNER_VARIANTS:
            if name in needed:
                self.start_luner(name)

    def spawn(self, core, command, **options):
        process = subprocess.Popen(["taskset", "-c", str(core), *command], **options)
        self.processes.append(process)
        return process

    def start_listening(self, name, core, command):
        """Starts a program that takes --listen and prints its URL."""
        binary = self.binaries / command[0]
        process = self.spawn(core, [str(binary), "--listen", "127.0.0.1:0", *command[1:]],
                             stdout=subprocess.PIPE, text=True)
        found = re.search(r"http://\S+", process.stdout.readline())
        if not found:
            sys.exit(f"bench: {binary} did not start")
        self.pids[name], self.urls[name] = [process.pid], found[0]

    def start_nginx(self):
        ports = {"200": free_port(), "proxy": free_port(), "stream": free_port()}
        fields = {
            "DIR": str(self.dir),
            "MOCK_PLAIN": self.urls["mock-plain"].removeprefix("http://"),
            "MOCK_STREAM": self.urls["mock-stream"].removeprefix("http://"),
            "FILL": "x" * (ANSWER_BYTES - NGINX_HEAD_BYTES - len('""')),
            **{f"PORT_{name.upper()}": f"127.0.0.1:{port}" for name, port in ports.items()},
        }
        text = re.sub(r"@(\w+)@", lambda found: fields[found[1]], (BENCH / "nginx.conf").read_text())
        config = self.dir / "nginx.conf"
        config.write_text(text)
        process = self.spawn(GATEWAY_CORE, ["nginx", "-p", str(self.dir), "-e", str(self.dir / "nginx.log"), "-c", str(config)])
        for name, port in ports.items():
            wait_for(port, process, "nginx")
            self.urls[f"nginx-{name}"] = f"http://127.0.0.1:{port}"
        workers = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for name in ports:
            self.pids[f"nginx-{name}"] = [process.pid, *map(int, workers)]

    def start_luner(self, name):
        mock, settings, policies = LUNER_VARIANTS[name]
        storage = {"sqlite": {"path": str(self.dir / f"{name}.db")}, **settings.get("storage", {})}
        binary, port = self.binaries / "luner", free_port()
        if not binary.exists():
            sys.exit(f"bench: {binary} does not exist; build it, or leave its rows out with --without-luner")
        config = self.dir / f"{name}.yaml"
        # JSON is YAML.
        config.write_text(json.dumps({
            "version": "v1",
            "server": {"listen": f"127.0.0.1:{port}", "workers": 1},
            "providers": [{"name": "mock", "base_url": self.urls[mock] + "/v1", "api_key": "sk-bench", "models": ["gpt-4o"]}],
            **settings,
            "storage": storage,
        }, indent=1))
        # The log goes to a file, because writing to a terminal would cost the gateway time.
        log = open(self.dir / f"{name}.log", "w")
        process = self.spawn(GATEWAY_CORE, [str(binary), "--config", str(config)], stdout=log, stderr=log)
        wait_for(port, process, f"luner ({log.name})")
        self.pids[name], self.urls[name] = [process.pid], f"http://127.0.0.1:{port}"
        for policy, expression in policies:
            body = json.dumps({"name": policy, "expression": expression, "action": "block"}).encode()
            headers = {"Content-Type": "application/json"}
            urllib.request.urlopen(urllib.request.Request(self.urls[name] + "/api/policies", body, headers), timeout=10)

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
                continue
            process.kill()
            process.wait()

    def cpu_ticks(self, server):
        return sum(process_ticks(pid) for pid in self.pids[server])


def process_ticks(pid):
    """utime + stime of all threads, including those that have ended."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def core_ticks(core):
    """Busy ticks and all ticks of a core."""
    line = next(line for line in open("/proc/stat") if line.startswith(f"cpu{core} "))
    ticks = [int(field) for field in line.split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, process, name):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"bench: {name} ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    sys.exit(f"bench: {name} does not listen on port {port}")


def request_body(row, host):
    """A JSON body that makes wrk's whole request REQUEST_BYTES long."""
    body = {"model": "gpt-4o", "temperature": 0.7, **row.body, "messages": [
        {"role": "system", "content": "You are terse."}, {"role": "user", "content": ""}]}
    head = (f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: 400\r\n"
            "Content-Type: application/json\r\nAuthorization: Bearer sk-caller\r\n\r\n")
    room = REQUEST_BYTES - len(head) - len(json.dumps(body))
    body["messages"][1]["content"] = ("How does a gateway route a request? " * 20)[:room]
    return json.dumps(body)


def write_script(setup, row):
    url = setup.urls[row.server]
    body = request_body(row, url.removeprefix("http://"))
    script = setup.dir / f"{row.name}.lua"
    script.write_text('wrk.method = "POST"\n'
                      'wrk.headers["Content-Type"] = "application/json"\n'
                      'wrk.headers["Authorization"] = "Bearer sk-caller"\n'
                      f"wrk.body = [[{body}]]\n")
    return script, url + "/v1/chat/completions", body


def probe(setup, row):
    """Checks with a few requests that the row measures the expected answer. Returns the length of the answer's body."""
    _, url, body = write_script(setup, row)
    headers = {"Content-Type": "application/json", "Authorization": "Bearer sk-caller"}
    request = urllib.request.Request(url, body.encode(), headers)
    for _ in range(2):  # The first request fills the cache, or uses up the limit.
        try:
            answer = urllib.request.urlopen(request, timeout=10)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            text = answer.read()
        time.sleep(0.1)
    if answer.status != row.status:
        sys.exit(f"bench: {row.name}: status {answer.status}: {text[-200:]!r}")
    must_hit = row.server.startswith("luner") and row.body == CACHEABLE
    if must_hit and answer.headers["X-Luner-Cache"] != "HIT":
        sys.exit(f"bench: {row.name}: no cache hit")
    if row.body.get("stream") and (text.count(b"data: ") < STREAM_WORDS or b"[DONE]" not in text):
        sys.exit(f"bench: {row.name}: the stream is not complete: {text[-200:]!r}")
    return len(text)


def measure(setup, row, seconds):
    script, url, _ = write_script(setup, row)
    ticks, (busy, whole) = setup.cpu_ticks(row.server), core_ticks(GATEWAY_CORE)
    load = setup.spawn(LOAD_CORE, ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script), url],
                     stdout=subprocess.PIPE, text=True)
    output = load.communicate()[0]
    ticks = setup.cpu_ticks(row.server) - ticks
    busy, whole = (after - before for after, before in zip(core_ticks(GATEWAY_CORE), (busy, whole)))
    result = parse_wrk(output)
    broken = re.search(r"Socket errors: (?!connect 0, read 0, write 0).*", output)
    if not result or broken or result.count == 0 or result.errors != (result.count if row.status >= 400 else 0):
        sys.exit(f"bench: {row.name}: some answers do not have status {row.status}\n{output}")
    return Sample(
        cpu_us=ticks * TICK_US / result.count,
        qps=result.qps,
        p50_us=result.p50_us,
        p99_us=result.p99_us,
        busy=ticks / whole,
        others=max(0, busy - ticks) / whole,
    )


@dataclasses.dataclass
class WrkResult:
    count: int
    errors: int  # answers that are neither 2xx nor 3xx
    qps: float
    p50_us: float
    p99_us: float


def parse_wrk(output):
    """Parses the output of wrk --latency. None when wrk failed before its summary."""
    requests = re.search(r"(\d+) requests in", output)
    if not requests:
        return None
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    return WrkResult(
        count=int(requests[1]),
        errors=int(errors[1]) if errors else 0,
        qps=float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1]),
        p50_us=latency(output, "50%"),
        p99_us=latency(output, "99%"),
    )


def latency(output, percentile):
    value, unit = re.search(rf"{percentile}\s+([\d.]+)(us|ms|s)\b", output).groups()
    return float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def rounds(setup, rows, seconds, count):
    samples = {row.name: [] for row in rows}
    for number in range(count):
        for row in rows:
            progress(f"round {number + 1}/{count}: {row.name}")
            samples[row.name].append(measure(setup, row, seconds))
    progress("")
    return samples


def progress(text):
    if sys.stderr.isatty():
        print(f"\r{text:<50}\r{text}", end="", file=sys.stderr, flush=True)


def median(samples, field):
    return statistics.median(getattr(sample, field) for sample in samples)


def report(rows, samples, sizes):
    lines = ["| row | CPU µs/request | min–max | requests/s | p50 µs | p99 µs | core 0: server, others | body bytes |",
             "|---|--:|--:|--:|--:|--:|--:|--:|"]
    for row in rows:
        result = samples[row.name]
        cpu = sorted(sample.cpu_us for sample in result)
        lines.append(
            f"| {row.what} | {median(result, 'cpu_us'):.2f} | {cpu[0]:.2f}–{cpu[-1]:.2f} | {median(result, 'qps'):,.0f} "
            f"| {median(result, 'p50_us'):,.0f} | {median(result, 'p99_us'):,.0f} "
            f"| {median(result, 'busy'):.0%}, {median(result, 'others'):.0%} | {sizes[row.name]:,} |")
    lines += ["", "| ratio (medians of each round's ratio) | CPU per request | target | requests/s | p50 |", "|---|--:|--:|--:|--:|"]
    for name, base, target in RATIOS:
        if name in samples and base in samples:
            ratio = {field: statistics.median(getattr(a, field) / getattr(b, field)
                                              for a, b in zip(samples[name], samples[base]))
                     for field in ("cpu_us", "qps", "p50_us")}
            lines.append(f"| {name} / {base} | {ratio['cpu_us']:.2f} | {f'≤ {target}' if target else ''} "
                         f"| {ratio['qps']:.2f} | {ratio['p50_us']:.2f} |")
    others = max(median(result, "others") for result in samples.values())
    if others > OTHERS_SHARE_MAX:
        lines += ["", f"**Noisy: other programs had up to {others:.0%} of the gateway's core.** Prefer the ratios, or measure again."]
    return "\n".join(lines)


def tool_output(*command):
    """The output of a tool on both streams. Empty if the tool is missing."""
    try:
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=BENCH)
    except OSError:
        return ""
    return run.stdout.strip()


def commit():
    short_hash = tool_output("git", "rev-parse", "--short", "HEAD")
    if not re.fullmatch(r"[0-9a-f]{7,}", short_hash):
        return "no-commit"
    return short_hash + ("-dirty" if tool_output("git", "status", "--porcelain", "--untracked-files=no") else "")


def describe_machine(binaries):
    cpu = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())[1])
    first = lambda text: text.splitlines()[0] if text else "missing"
    return "\n".join([
        f"* machine: {cpu[1] if cpu else platform.describe_machine()}, {os.cpu_count()} cores, {memory / 2**20:.1f} GiB",
        f"* kernel: {platform.release()}; load average at the start: {', '.join(f'{load:.2f}' for load in os.getloadavg())}",
        f"* {first(tool_output('nginx', '-v'))}; {first(tool_output('wrk', '-v'))}; {first(tool_output('rustc', '-V'))}",
        f"* {first(tool_output(str(binaries / 'luner'), '--version'))}; LUNER_IO={os.environ.get('LUNER_IO', 'unset')}",
    ])


def selected_rows(args):
    known = {row.name for row in ROWS}
    selected = set(args.rows.split(",")) if args.rows else known
    if selected - known:
        sys.exit(f"bench: unknown row: {', '.join(sorted(selected - known))}; the rows are {', '.join(row.name for row in ROWS)}")
    return [row for row in ROWS if row.name in selected and not (args.without_luner and row.server in LUNER_VARIANTS)]


def main():
    parser = argparse.ArgumentParser(prog="bench/run.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 2 s instead of 5 of 10")
    parser.add_argument("--rows", help="measure only these, separated by commas: " + ",".join(row.name for row in ROWS))
    parser.add_argument("--without-luner", action="store_true", help="neither build nor measure luner")
    parser.add_argument("--rounds", type=int, help="number of rounds, 5 by default, 3 with --quick")
    parser.add_argument("--seconds", type=int, help="seconds per row and round, 10 by default, 2 with --quick")
    parser.add_argument("--no-build", action="store_true", help="measure the binaries that exist")
    parser.add_argument("--no-file", action="store_true", help="write no file to bench/results")
    parser.add_argument("--bin", type=pathlib.Path, default=BENCH.parent / "target/release", help=argparse.SUPPRESS)
    args = parser.parse_args()
    seconds, count = args.seconds or (2 if args.quick else 10), args.rounds or (3 if args.quick else 5)
    rows = selected_rows(args)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    description = describe_machine(args.bin)
    try:
        with tempfile.TemporaryDirectory(prefix="luner-bench-") as directory, Setup(args.bin, pathlib.Path(directory)) as setup:
            setup.start(rows)
            sizes = {row.name: probe(setup, row) for row in rows}
            rounds(setup, rows, 1, 1)  # Warms up caches and connections; its figures are discarded.
            samples = rounds(setup, rows, seconds, count)
    except KeyboardInterrupt:
        sys.exit(130)

    now = datetime.datetime.now()
    text = (f"# {now:%Y-%m-%d %H:%M}, {commit()}\n\n{description}\n* {count} rounds of {seconds} s, {CONNECTIONS} connections, "
            f"requests of {REQUEST_BYTES} bytes; server on core {GATEWAY_CORE} with one worker, "
            f"wrk and mock-llm on core {LOAD_CORE}\n\n{report(rows, samples, sizes)}\n")
    print(text)
    if not args.no_file:
        path = BENCH / "results" / f"{now:%Y-%m-%d}-{commit()}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        print(f"written to {os.path.relpath(path)}", file=sys.stderr)


if __name__ == "__main__":
    main()
