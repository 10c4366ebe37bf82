#!/usr/bin/env bash
# Measures a running gateway: cache hits, cold prompts, and requests over a rate limit. run.sh measures luner itself, next to
# nginx.
#
#   bench/bench.sh http://127.0.0.1:8080            half a minute
#   bench/bench.sh http://127.0.0.1:8080 --quick    some seconds
#   bench/bench.sh --help                           all options, and what it may cost
set -euo pipefail
cd "$(dirname "$0")"

source ./need.sh
need wrk python3
exec python3 live.py "$@"
