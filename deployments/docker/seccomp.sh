#!/usr/bin/env bash
# Generates seccomp.json: Docker's default profile, which forbids io_uring, plus io_uring's three system calls.
#   deployments/docker/seccomp.sh           writes the file
#   deployments/docker/seccomp.sh --check   fails if the file differs from what this script would write; exits with 75 if Docker's
#                                           default profile cannot be downloaded
# The default profile comes from a pinned version of Docker's own Go module.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly MODULE=github.com/moby/profiles/seccomp@v0.3.0

module_dir() {
  # Runs outside of any Go module, so that `go mod download` needs no go.mod.
  (cd / && GOFLAGS=-mod=mod go mod download -json "$MODULE") | python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])'
}

if ! command -v go >/dev/null || ! default=$(module_dir)/default.json; then
  echo "seccomp: go is missing, or $MODULE cannot be downloaded" >&2
  exit 75
fi

wanted=$(mktemp)
trap 'rm -f "$wanted"' EXIT
python3 - "$default" >"$wanted" <<'PYTHON'
import json, sys

ADDED = ["io_uring_enter", "io_uring_register", "io_uring_setup"]
profile = json.load(open(sys.argv[1]))
allowed = {name for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}
assert not allowed & set(ADDED), "Docker's default profile allows io_uring now, so this profile is no longer needed"
profile["syscalls"].append({"names": ADDED, "action": "SCMP_ACT_ALLOW", "comment": "luner's event loops"})
json.dump(profile, sys.stdout, indent="\t")
print()
PYTHON

if [[ ${1:-} == --check ]]; then
  diff -u seccomp.json "$wanted"
else
  install -m 644 "$wanted" seccomp.json
fi
