#!/usr/bin/env bash
# Pictures of the console over `luner demo`, built as they are needed.
#   scripts/web-screenshots.sh                 the README's: web/screenshots/*.png
#   scripts/web-screenshots.sh OUT [NAME…]     every page, or those named, 1440 and 390 wide, dark and light, into OUT
# Over a luner that runs already: LUNER_URL=http://127.0.0.1:8080/
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
