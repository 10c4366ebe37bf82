#!/usr/bin/env bash
# Measures luner next to nginx and the bare runtime; run.py explains how. Checks for the tools, builds, and passes all
# arguments to run.py, which does the rounds.
#
#   bench/run.sh            a full run of some minutes; writes bench/results/<date>-<commit>.md
#   bench/run.sh --quick    under two minutes once built
#   bench/run.sh --help     all options
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
    echo "building" >&2
    build --manifest-path bench/mock-llm/Cargo.toml
    build --manifest-path bench/raw-responder/Cargo.toml
    [[ " $* " == *" --without-luner "* ]] || build --bin luner
fi
exec python3 bench/run.py --bin "$target/release" "$@"
