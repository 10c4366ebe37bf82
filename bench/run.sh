#!/usr/bin/env bash
# Measures luner beside nginx and the bare runtime; run.py says how and why so. Checks for tools, builds, and leaves
# the rounds to run.py, to which all arguments go.
#
#   bench/run.sh            a proper run, some minutes; writes bench/results/<date>-<commit>.md
#   bench/run.sh --quick    under two minutes once built
#   bench/run.sh --help     the rest
set -euo pipefail
cd "$(dirname "$0")/.."

source bench/need.sh
need cargo python3 taskset wrk nginx
if (($(nproc) < 2)); then
    echo "bench/run.sh: needs two cores: one for the gateway, one for the load" >&2
    exit 1
fi

target=${CARGO_TARGET_DIR:-$PWD/target}
build() { cargo build --release --quiet --target-dir "$target" "$@"; }
if [[ " $* " != *" --help "* && " $* " != *" --no-build "* ]]; then
    echo "building…" >&2
    build --manifest-path bench/mock-llm/Cargo.toml
    build --manifest-path bench/raw-responder/Cargo.toml
    [[ " $* " == *" --without-luner "* ]] || build --bin luner
fi
exec python3 bench/run.py --bin "$target/release" "$@"
