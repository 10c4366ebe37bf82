#!/usr/bin/env bash
# Builds the manual as a book, from docs/ into book/. Installs mdBook below target/tools unless that version is on the PATH.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VERSION=0.5.4
tools=${CARGO_TARGET_DIR:-target}/tools/mdbook-$VERSION

say() { printf '==> docs: %s\n' "$*"; }

if [[ $(mdbook --version 2>/dev/null) == "mdbook v$VERSION" ]]; then
  mdbook=mdbook
else
  mdbook=$tools/bin/mdbook
  if [[ ! -x $mdbook ]]; then
    say "installing mdBook $VERSION, which takes some minutes"
    # Without its server and its watcher: half the dependencies.
    cargo install --locked --quiet --root "$tools" --no-default-features --features search "mdbook@$VERSION"
  fi
fi
"$mdbook" build docs
# mdBook takes every link to a .md file for a chapter. A link that leaves the manual must keep leading to the file.
sed -i -E 's|href="(\.\./[^"#]*)\.html|href="\1.md|g' book/*.html
rm book/book.toml
say 'book/index.html'
