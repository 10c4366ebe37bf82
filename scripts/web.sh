#!/usr/bin/env bash
# Installs the console's packages below web/, builds it, tests it.
#   scripts/web.sh build   builds web/dist if its sources have changed
#   scripts/web.sh test    checks types and lint, runs the unit tests, then the browser tests in the system's Chromium:
#                          against the fixture, and against a real luner, which it builds
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../web"

say() { printf '==> web: %s\n' "$*"; }
die() {
  printf 'web: %s\n' "$*" >&2
  exit 1
}

# The minimum that Vite and its plugins state in their `engines`.
node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null ||
  die "Node 20.19 or newer is needed, and npm with it"

packages() {
  local wanted stamp=node_modules/.installed
  wanted=$(cat package.json package-lock.json | sha256sum)
  [[ -e $stamp && $(<"$stamp") == "$wanted" ]] && return
  say 'installing npm packages'
  npm ci --no-audit --no-fund --silent
  printf '%s\n' "$wanted" >"$stamp"
}

build() {
  local stamp=node_modules/.built wanted
  wanted=$({ cat package.json package-lock.json index.html vite.config.ts tsconfig.json ../scripts/web-pack.mjs && find src public -type f | LC_ALL=C sort | xargs cat; } | sha256sum)
  [[ -e dist/index.html && -e $stamp && $(<"$stamp") == "$wanted" ]] && return
  packages
  say 'building web/dist'
  npm run --silent build
  printf '%s\n' "$wanted" >"$stamp"
  # Cargo embeds the new files only when the Rust file that embeds them is newer.
  touch ../src/console.rs
}

browser() {
  for path in "${CHROMIUM:-}" /usr/bin/chromium /usr/bin/chromium-browser /usr/bin/google-chrome; do
    [[ -n $path && -x $path ]] && return
  done
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    die 'Chromium is missing; on Debian and Ubuntu: sudo apt-get install chromium'
  fi
  say 'installing chromium by apt-get'
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
}

case ${1:-} in
  build) build ;;
  test)
    build
    packages
    browser
    say 'checking types and lint'
    npm run --silent check
    say 'unit tests'
    npm test --silent
    say 'browser tests against the fixture'
    npm run --silent e2e
    say 'building binaries that embed the new console'
    "${CARGO:-cargo}" build --locked --workspace --bins --manifest-path ../Cargo.toml
    say 'browser tests against luner, with the scripted provider'
    npm run --silent e2e:real
    ;;
  *) die 'usage: scripts/web.sh build|test' ;;
esac
