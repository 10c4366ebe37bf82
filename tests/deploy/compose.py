"""Checks what the compose files promise beyond their syntax. Reads each one as Compose resolves it, in JSON: demo, monitoring,
production."""

import json
import sys

OURS = {"luner", "seed", "traffic", "mock-llm"}
problems = []


def expect(holds, what):
    if not holds:
        problems.append(what)


def seconds(duration):
    """Seconds of a duration in Go's format: 40s, 1m5s."""
    total, number = 0.0, ""
    for char in duration:
        if char.isdigit() or char == ".":
            number += char
        else:
            total += float(number) * {"h": 3600, "m": 60, "s": 1}[char]
            number = ""
    return total


def check(name, path):
    services = json.load(open(path))["services"]
    for service_name, service in services.items():
        where = f"{name}: {service_name}"
        options = service.get("security_opt", [])
        expect(service.get("cap_drop") == ["ALL"], f"{where}: keeps capabilities")
        expect("no-new-privileges:true" in options, f"{where}: can gain privileges")
        expect(not service.get("privileged") and not service.get("cap_add"), f"{where}: has extra privileges")
        for port in service.get("ports", []):
            expect(port.get("host_ip") == "127.0.0.1", f"{where}: port {port['published']} is open to the network")
        if service_name in OURS:
            expect(service.get("read_only") is True, f"{where}: its root file system is writable")
            expect("user" not in service, f"{where}: overrides the image's user")
    luner = services["luner"]
    expect(any(option.startswith("seccomp:") for option in luner["security_opt"]), f"{name}: luner cannot use io_uring")
    expect(luner["ulimits"]["memlock"] in (67108864, {"single": 67108864}), f"{name}: too little locked memory")
    # server.drain_timeout is 30s by default and in config.prod.yaml.
    expect(seconds(luner["stop_grace_period"]) > 30, f"{name}: luner is killed before it has drained")
    return services


paths = dict(zip(("demo", "monitoring", "production"), sys.argv[1:], strict=True))
check("demo", paths["demo"])
monitoring = check("monitoring", paths["monitoring"])
expect([port["published"] for port in monitoring["prometheus"]["ports"]] == ["9091"], "Prometheus is not at 9091")
expect([port["published"] for port in monitoring["grafana"]["ports"]] == ["3000"], "Grafana is not at 3000")
luner = check("production", paths["production"])["luner"]
limits = luner["deploy"]["resources"]["limits"]
expect(limits.get("memory") and limits.get("cpus") and limits.get("pids"), "production: no resource limits")
expect(luner["logging"]["options"].get("max-size"), "production: logs grow without limit")
expect(luner.get("restart") == "unless-stopped" and luner.get("healthcheck"), "production: no restart policy or health check")

for problem in problems:
    print(f"compose: {problem}", file=sys.stderr)
sys.exit(bool(problems))
