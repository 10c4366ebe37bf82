#!/usr/bin/env bash
# Pictures of the console's pages, 1440 and 390 pixels wide, dark and light.
#   scripts/web-screenshots.sh OUT [NAME…]     names of pages: dashboard traces trace policies policy settings …
# From the fixture's made-up traffic, or from a running luner: LUNER_URL=http://127.0.0.1:8080/
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=${1:?where the pictures go}
mkdir -p "$out"
out=$(cd "$out" && pwd)
shift

[[ -d web/node_modules ]] || npm --prefix web ci
[[ -n ${LUNER_URL:-} || -f web/dist/index.html ]] || npm --prefix web run --silent build
node web/e2e/screenshots.mjs "$out" "$@"
