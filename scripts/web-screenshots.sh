#!/usr/bin/env bash
# Takes screenshots of the console in front of `luner demo`; builds both first if needed.
#   scripts/web-screenshots.sh                 the README's pictures: web/screenshots/*.png
#   scripts/web-screenshots.sh OUT [NAME…]     every page, or the named ones, 1440 and 390 pixels wide, dark and light, into OUT
# To use a running luner instead of the demo, set LUNER_URL=http://127.0.0.1:8080/
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/web.sh build
[[ -n ${LUNER_URL:-} ]] || "${CARGO:-cargo}" build --quiet --locked --workspace --bins
if (($#)); then
  out=$1
  shift
  node web/e2e/screenshots.mjs "$out" --all "$@"
else
  node web/e2e/screenshots.mjs web/screenshots
fi
