#!/usr/bin/env bash
# Makes seccomp.json: Docker's default profile, which leaves io_uring out, and io_uring's three calls.
#   deployments/docker/seccomp.sh           writes it
#   deployments/docker/seccomp.sh --check   fails when it is not what this script would write; exit 75 when the default cannot be had
# The default comes from the Go module of Docker's authors, so that it is theirs and of one known version.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly MODULE=github.com/moby/profiles/seccomp@v0.3.0

module_dir() {
  # Outside of any Go module: `go mod download` then asks for no go.mod.
  (cd / && GOFLAGS=-mod=mod go mod download -json "$MODULE") | python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])'
}

if ! command -v go >/dev/null || ! default=$(module_dir)/default.json; then
  echo "seccomp: go is missing, or $MODULE cannot be had" >&2
  exit 75
fi

wanted=$(mktemp)
trap 'rm -f "$wanted"' EXIT
python3 - "$default" >"$wanted" <<'PYTHON'
import json, sys

ADDED = ["io_uring_enter", "io_uring_register", "io_uring_setup"]
profile = json.load(open(sys.argv[1]))
allowed = {name for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}
assert not allowed & set(ADDED), "the default allows io_uring by now: this profile is not needed any more"
profile["syscalls"].append({"names": ADDED, "action": "SCMP_ACT_ALLOW", "comment": "luner's event loops"})
json.dump(profile, sys.stdout, indent="\t")
print()
PYTHON

if [[ ${1:-} == --check ]]; then
  diff -u seccomp.json "$wanted"
else
  install -m 644 "$wanted" seccomp.json
fi
