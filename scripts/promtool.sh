#!/usr/bin/env bash
# Runs promtool over deployments/monitoring and over /metrics: configuration, rules with their tests, the dashboard's
# queries, the metrics of a running luner. If promtool is missing and Debian's cannot be fetched, says so and checks nothing.
# LUNER_BIN names the binary to run; without it, cargo builds a debug one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly MONITORING=deployments/monitoring
target=${CARGO_TARGET_DIR:-target}
scratch=$(mktemp -d)
luner_pid=
cleanup() {
  [[ -z $luner_pid ]] || kill "$luner_pid" 2>/dev/null || true
  rm -rf "$scratch"
}
trap cleanup EXIT

say() { printf '==> promtool: %s\n' "$*"; }

# Sets `promtool` to the system's, or to the one in Debian's package, which is unpacked and not installed.
find_promtool() {
  promtool=$(command -v promtool) && return
  promtool=$target/tools/promtool
  [[ -x $promtool ]] && return
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
  say 'unpacking the Debian package prometheus'
  (cd "$scratch" && { apt-get download prometheus || { apt-get update && apt-get download prometheus; }; }) \
    >"$scratch/apt.log" 2>&1 || return 1
  dpkg-deb -x "$scratch"/prometheus_*.deb "$scratch/package" || return 1
  install -D "$scratch/package/usr/bin/promtool" "$promtool"
}

# Prints the dashboard's queries as recording rules, which promtool can parse, with values for Grafana's variables.
dashboard_rules() {
  python3 - "$MONITORING"/grafana/dashboards/*.json <<'PYTHON'
import json, sys

def queries(node):
    if isinstance(node, dict):
        if isinstance(node.get("expr"), str):
            yield node["expr"]
        node = node.values()
    if not isinstance(node, str) and hasattr(node, "__iter__"):
        for child in node:
            yield from queries(child)

filled = {"$__rate_interval": "5m", "$__range": "1h", "$job": ".*", "$instance": ".*"}
rules = []
for path in sys.argv[1:]:
    for number, query in enumerate(queries(json.load(open(path)))):
        for name, value in filled.items():
            query = query.replace(name, value)
        rules.append({"record": f"query:{number}", "expr": query})
assert rules, "the dashboards contain no query"
json.dump({"groups": [{"name": "dashboards", "rules": rules}]}, sys.stdout)
PYTHON
}

# Starts the demo, sends it a few requests, and writes its /metrics to the file $1.
scrape() {
  local luner=${LUNER_BIN:-$target/debug/luner} address="" deadline
  [[ -n ${LUNER_BIN:-} ]] || cargo build --quiet --locked --bin luner
  # Names a collector that does not exist, because the span exporter's metrics appear only when one is configured.
  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9 "$luner" demo --listen 127.0.0.1:0 >"$scratch/out" 2>"$scratch/err" &
  luner_pid=$!
  deadline=$((SECONDS + 30))
  until address=$(sed -n 's|^luner runs at http://\([^,]*\),.*|\1|p' "$scratch/out") && [[ -n $address ]]; do
    if ((SECONDS > deadline)) || ! kill -0 "$luner_pid"; then
      cat "$scratch/err" >&2
      return 1
    fi
    sleep 0.1
  done
  local json='content-type: application/json'
  local chat='{"model":"gpt-4o","temperature":0,"messages":[{"role":"user","content":"Hello"}]}'
  curl -sSf -o /dev/null "http://$address/api/policies" -H "$json" -d '{"name":"watch","expression":"true","action":"alert"}'
  for _ in 1 2; do
    curl -sSf -o /dev/null "http://$address/v1/chat/completions" -H "$json" -d "$chat"
  done
  curl -sS -o /dev/null "http://$address/v1/chat/completions" -H "$json" -d '{'
  curl -sSf -o "$1" "http://$address/metrics"
}

if ! find_promtool; then
  say 'skipped: promtool is missing, and the Debian package prometheus cannot be fetched'
  exit 0
fi
say 'checking the configuration, the rules and their tests'
"$promtool" check config "$MONITORING"/prometheus*.yml
"$promtool" test rules "$MONITORING/alerts_test.yml"
say "checking the dashboard's queries"
dashboard_rules >"$scratch/rules.yml"
"$promtool" check rules "$scratch/rules.yml"
say 'checking /metrics of a running luner'
scrape "$scratch/metrics"
"$promtool" check metrics <"$scratch/metrics"
say "checked $(grep -c '^# TYPE' "$scratch/metrics") metrics"
