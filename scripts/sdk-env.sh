#!/usr/bin/env bash
# Installs what tests/sdk needs: .venv from tests/sdk/requirements.txt, node_modules from tests/sdk/node/package-lock.json.
# Does nothing when both are up to date. Safe to run twice at once: the second run waits for the first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly REQUIREMENTS=tests/sdk/requirements.txt NODE_DIR=tests/sdk/node
# Oldest versions that the pinned clients run on.
readonly PYTHON_MIN='3.10' NODE_MIN=20

say() { printf '==> sdk-env: %s\n' "$*"; }
die() {
  printf 'sdk-env: %s\n' "$*" >&2
  exit 1
}

python_env() {
  command -v python3 >/dev/null || debian python3 python3-venv
  python3 -c "import sys; sys.exit(sys.version_info < tuple(map(int, '$PYTHON_MIN'.split('.'))))" ||
    die "$(python3 --version) is too old; the clients need Python $PYTHON_MIN or newer"

  # The stamp includes the folder's path, because a virtual environment does not survive a move.
  local wanted stamp=.venv/.installed
  wanted=$({ python3 --version && pwd && cat "$REQUIREMENTS"; } | sha256sum)
  [[ -e $stamp && $(<"$stamp") == "$wanted" ]] && return

  ensure_venv
  say "Python packages into .venv"
  rm -rf .venv
  python3 -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input -r "$REQUIREMENTS"
  printf '%s\n' "$wanted" >"$stamp"
}

# Debian keeps what `python3 -m venv` needs in a separate package.
ensure_venv() {
  python3 -c 'import ensurepip, venv' 2>/dev/null && return
  debian python3-venv
  python3 -c 'import ensurepip, venv' || die "python3 ($(command -v python3)) still lacks venv: it is not Debian's Python"
}

# Installs Debian packages, if this is Debian and we are root.
debian() {
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    die "missing: $*; on Debian and Ubuntu: sudo apt-get install $*"
  fi
  say "$* by apt-get"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

node_env() {
  { command -v node && command -v npm; } >/dev/null || die "node and npm are missing; Node $NODE_MIN or newer is needed"
  local version
  version=$(node --version)
  [[ ${version#v} =~ ^([0-9]+) && ${BASH_REMATCH[1]} -ge $NODE_MIN ]] || die "Node $version is too old; $NODE_MIN or newer is needed"

  local wanted stamp=$NODE_DIR/node_modules/.installed
  wanted=$(cat "$NODE_DIR/package.json" "$NODE_DIR/package-lock.json" | sha256sum)
  [[ -e $stamp && $(<"$stamp") == "$wanted" ]] && return

  say "Node packages into $NODE_DIR/node_modules"
  npm --prefix "$NODE_DIR" ci --no-audit --no-fund --loglevel=error
  printf '%s\n' "$wanted" >"$stamp"
}

# Locks this script itself, so that there is no lock file to create or clean up.
exec 9<scripts/sdk-env.sh
flock 9
python_env
node_env
