#!/usr/bin/env bash
# Builds dist/luner_VERSION_ARCH.deb from the binary that `make build` built: the files that `make install` installs, plus dpkg's
# metadata. Needs dpkg-dev. LUNER selects another binary.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

luner=${LUNER:-bin/luner}
version=$("$luner" --version)
version=${version#luner }
arch=$(dpkg --print-architecture)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
chmod 755 "$stage"

say() { printf '==> deb: %s\n' "$*"; }

if ! command -v dpkg-shlibdeps >/dev/null; then
  echo 'deb: dpkg-shlibdeps is missing; on Debian and Ubuntu: sudo apt-get install dpkg-dev' >&2
  exit 1
fi

root=$stage/root
make --no-print-directory install LUNER="$luner" DESTDIR="$root" prefix=/usr unitdir=/usr/lib/systemd/system
# Debian uses other names for these two.
mv "$root/usr/share/doc/luner/LICENSE" "$root/usr/share/doc/luner/copyright"
mv "$root/usr/share/zsh/site-functions" "$root/usr/share/zsh/vendor-completions"

# Finds the packages that the binary's libraries come from. dpkg-shlibdeps has to run in a folder with a debian/control.
mkdir -p "$stage/source/debian"
printf 'Source: luner\n\nPackage: luner\nArchitecture: any\n' >"$stage/source/debian/control"
depends=$(cd "$stage/source" && dpkg-shlibdeps -O "$root/usr/bin/luner" 2>/dev/null)
depends=${depends#shlibs:Depends=}

mkdir "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<CONTROL
Package: luner
Version: $version
Architecture: $arch
Maintainer: luner maintainers <maintainers@luner.invalid>
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: $depends
Recommends: ca-certificates, procps, systemd
Section: net
Priority: optional
Description: AI gateway between applications and LLM providers
 luner speaks the OpenAI API, so an application changes only its base URL.
 Before a request costs money, luner applies policies written in CEL, rate
 limits and a cache. Afterwards it accounts for tokens and dollars exactly.
 A web console, a REST API and Prometheus metrics are served on the same
 port; the state is one SQLite file.
CONTROL
(cd "$root" && find etc -type f -printf '/%p\n' | LC_ALL=C sort) >"$root/DEBIAN/conffiles"
install -m 755 -t "$root/DEBIAN" deployments/debian/{postinst,prerm,postrm}
(cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"

mkdir -p dist
package=dist/luner_${version}_$arch.deb
# Every version of dpkg can read xz.
dpkg-deb --root-owner-group -Zxz --build "$root" "$package" >/dev/null
say "$package, $(($(stat -c %s "$package") / 1024)) KiB, depends on $depends"
