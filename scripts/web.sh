#!/usr/bin/env bash
# The console: installs what it needs below web/, builds it, tests it.
#   scripts/web.sh build   web/dist, if its sources are newer than it is
#   scripts/web.sh test    types, lint, unit tests, and browser tests in the system's Chromium: against the
#                          fixture, then against a real luner, which it builds
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../web"

say() { printf '==> web: %s\n' "$*"; }
die() {
  printf 'web: %s\n' "$*" >&2
  exit 1
}

# Vite and its plugins say so in their own `engines`.
node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null ||
  die "Node 20.19 or newer is needed, and npm with it"

packages() {
  local wanted stamp=node_modules/.installed
  wanted=$(cat package.json package-lock.json | sha256sum)
  [[ -e $stamp && $(<"$stamp") == "$wanted" ]] && return
  say 'npm packages'
  npm ci --no-audit --no-fund --silent
  printf '%s\n' "$wanted" >"$stamp"
}

build() {
  local stamp=node_modules/.built wanted
  wanted=$({ cat package.json package-lock.json index.html vite.config.ts tsconfig.json ../scripts/web-pack.mjs && find src public -type f | LC_ALL=C sort | xargs cat; } | sha256sum)
  [[ -e dist/index.html && -e $stamp && $(<"$stamp") == "$wanted" ]] && return
  packages
  say 'web/dist'
  npm run --silent build
  printf '%s\n' "$wanted" >"$stamp"
  # cargo sees new files of a folder only when a source file is newer.
  touch ../src/console.rs
}

browser() {
  for path in "${CHROMIUM:-}" /usr/bin/chromium /usr/bin/chromium-browser /usr/bin/google-chrome; do
    [[ -n $path && -x $path ]] && return
  done
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    die 'Chromium is missing; on Debian and Ubuntu: sudo apt-get install chromium'
  fi
  say 'chromium by apt-get'
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
}

case ${1:-} in
  build) build ;;
  test)
    build
    packages
    browser
    say 'types and lint'
    npm run --silent check
    say 'unit tests'
    npm test --silent
    say 'browser tests, against the fixture'
    npm run --silent e2e
    say 'binaries with the console as it was just built'
    "${CARGO:-cargo}" build --locked --workspace --bins --manifest-path ../Cargo.toml
    say 'browser tests, against luner before the scripted provider'
    npm run --silent e2e:real
    ;;
  *) die 'build or test' ;;
esac
