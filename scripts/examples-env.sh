#!/usr/bin/env bash
# Installs what the examples need: .venv through scripts/sdk-env.sh, and each Node example's node_modules from its
# package-lock.json. Does nothing when both are up to date. Safe to run twice at once: the second run waits for the first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/sdk-env.sh

exec 9<scripts/examples-env.sh
flock 9
for folder in examples/node examples/vercel-ai-sdk; do
  wanted=$(cat "$folder/package.json" "$folder/package-lock.json" | sha256sum)
  stamp=$folder/node_modules/.installed
  [[ -e $stamp && $(<"$stamp") == "$wanted" ]] && continue
  printf '==> examples-env: Node packages into %s/node_modules\n' "$folder"
  npm --prefix "$folder" ci --no-audit --no-fund --loglevel=error
  printf '%s\n' "$wanted" >"$stamp"
done
