#!/usr/bin/env bash
# Runs OpenAI's clients against one running luner: tests/sdk/run.sh [python|node]..., both by default. LUNER_IO chooses the
# driver, LUNER_BIN and MOCK_LLM_BIN choose the binaries. SDK_BASE_URL=http://.../v1 replaces luner during development.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

scripts/sdk-env.sh
(($#)) || set -- python node
for client in "$@"; do
  case $client in
    python) suite=(.venv/bin/python -m pytest -c tests/sdk/python/pytest.ini tests/sdk/python) ;;
    # One file at a time, because a fault that one file arms in the mock would hit the other.
    node) suite=(node --test --test-concurrency=1 --test-reporter=spec tests/sdk/node/*.test.mjs) ;;
    *)
      echo "run.sh: unknown client: $client" >&2
      exit 2
      ;;
  esac
  echo "==> sdk: $client on ${LUNER_IO:-the default driver}"
  python3 tests/sdk/launch.py "${suite[@]}"
done
