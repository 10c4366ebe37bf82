"""Checks what the manifests promise beyond their schemas. Reads kustomize's output without and with the component io-uring, and
the example secret."""

import re
import sys

import yaml

problems = []


def expect(holds, what):
    if not holds:
        problems.append(what)


def load(path):
    return {document["kind"]: document for document in yaml.safe_load_all(open(path)) if document}


base, io_uring, secret = (load(path) for path in sys.argv[1:])
stateful = base["StatefulSet"]["spec"]
labels = stateful["template"]["metadata"]["labels"]
pod = stateful["template"]["spec"]
(container,) = pod["containers"]

for kind, selector in {
    "StatefulSet": stateful["selector"]["matchLabels"],
    "Service": base["Service"]["spec"]["selector"],
    "PodDisruptionBudget": base["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
}.items():
    expect(selector and selector.items() <= labels.items(), f"{kind} does not select the pod")

expect(stateful["replicas"] == 1, "more than one replica, but SQLite has one writer")
security, own = pod["securityContext"], container["securityContext"]
expect(security["runAsNonRoot"] and security["runAsUser"] != 0, "runs as root")
expect(own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"], "the root file system is writable, or the container can gain privileges")
expect(own["capabilities"] == {"drop": ["ALL"]}, "keeps capabilities")
expect(security["seccompProfile"]["type"] == "RuntimeDefault", "no seccomp profile")
profile = io_uring["StatefulSet"]["spec"]["template"]["spec"]["securityContext"]["seccompProfile"]
expect(profile == {"type": "Localhost", "localhostProfile": "luner.json"}, "the component io-uring does not set the profile")
expect(not any("subPath" in mount for mount in container["volumeMounts"]), "a file mounted with subPath never changes")

config = yaml.safe_load(base["ConfigMap"]["data"]["config.yaml"])
drain_s = int(re.fullmatch(r"(\d+)s", config["server"]["drain_timeout"])[1])
before_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
expect(pod["terminationGracePeriodSeconds"] > drain_s + before_s, "is killed before it has drained")
expect(container["livenessProbe"].get("exec", {}).get("command", [])[-1] == "--live", "a draining pod is killed by its liveness probe")
expect(config["storage"]["sqlite"]["path"].startswith("/var/lib/luner/"), "the database is not on the volume")
variables = set(re.findall(r"\$\{(\w+)\}", base["ConfigMap"]["data"]["config.yaml"]))
expect(variables == set(secret["Secret"]["stringData"]), "the example secret and the config use different variables")

for problem in problems:
    print(f"kubernetes: {problem}", file=sys.stderr)
sys.exit(bool(problems))
