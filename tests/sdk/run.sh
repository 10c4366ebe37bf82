#!/usr/bin/env bash
# Runs the real clients against one running luner: tests/sdk/run.sh [python|node]…, both by default.
# LUNER_IO chooses the driver, LUNER_BIN and MOCK_LLM_BIN the binaries; SDK_BASE_URL=http://…/v1 skips luner for development.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

scripts/sdk-env.sh
(($#)) || set -- python node
for client in "$@"; do
  case $client in
    python) suite=(.venv/bin/python -m pytest -c tests/sdk/python/pytest.ini tests/sdk/python) ;;
    # One file at a time: a fault that one arms in the mock would hit the other.
    node) suite=(node --test --test-concurrency=1 --test-reporter=spec tests/sdk/node/*.test.mjs) ;;
    *)
      echo "run.sh: no client is called $client" >&2
      exit 2
      ;;
  esac
  echo "==> sdk: $client on ${LUNER_IO:-the default driver}"
  python3 tests/sdk/launch.py "${suite[@]}"
done
