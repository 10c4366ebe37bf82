#!/usr/bin/env bash
# Measures a gateway that runs: cache hits, cold prompts, beyond a rate limit. run.sh measures luner itself, beside nginx.
#
#   bench/bench.sh http://127.0.0.1:8080            half a minute
#   bench/bench.sh http://127.0.0.1:8080 --quick    some seconds
#   bench/bench.sh --help                           the rest, and what it may cost
set -euo pipefail
cd "$(dirname "$0")"

source ./need.sh
need wrk python3
exec python3 live.py "$@"
