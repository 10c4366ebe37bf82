#!/usr/bin/env bash
# Installs dist/*.deb in a minimal Debian and tests it there: first without systemd (as in a container), then under a systemd that
# boots in systemd-nspawn: start, users, sandbox, watchdog, reload, restart, upgrade, socket activation, purge.
# Needs root and Debian or Ubuntu; installs mmdebstrap and systemd-container. Exits with 75, and says why, if the machine cannot run it.
# shellcheck disable=SC2016 # single quotes are meant for awk and eval
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly SUITE=bookworm
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
target=$(cd "$target" && pwd)
base=$target/tools/debian-$SUITE.tar
package=$(find dist -name "luner_*_$(dpkg --print-architecture).deb" -printf "%T@ %p\n" | sort -n | tail -n1 | cut -d" " -f2)
mock=${MOCK_LLM:-bin/mock-llm}
scratch=$(mktemp -d -p "$target" luner-package.XXXXXX)
tree=$scratch/tree
nspawn_pid=
leader=

say() { printf '==> package: %s\n' "$*"; }
die() {
  printf 'package: %s\n' "$*" >&2
  if [[ -n $leader ]]; then
    inside journalctl --no-pager -n 40 -u luner.service -u luner.socket >&2 || true
  fi
  exit 1
}
cannot() {
  printf 'package: NOT CHECKED: %s\n' "$*" >&2
  exit 75
}

cleanup() {
  if [[ -n $nspawn_pid ]]; then
    # Asks systemd to halt at once, then kills systemd-nspawn.
    [[ -z $leader ]] || kill -SIGRTMIN+13 "$leader" 2>/dev/null || true
    timeout 10 tail --pid="$nspawn_pid" -f /dev/null || kill -9 "$nspawn_pid" 2>/dev/null || true
  fi
  rm -rf --one-file-system "$scratch"
}
trap cleanup EXIT

make_tree() {
  if [[ ! -e $base ]]; then
    say "a minimal $SUITE"
    mkdir -p "$(dirname "$base")"
    mmdebstrap --quiet --variant=minbase --include=systemd,systemd-sysv,libnss-systemd,dbus,curl,procps --format=tar "$SUITE" - >"$base.new"
    mv "$base.new" "$base"
  fi
  rm -rf --one-file-system "$tree"
  mkdir "$tree"
  tar -C "$tree" -xf "$base" --exclude=./dev/\*
  mknod -m 666 "$tree/dev/null" c 1 3
  install -m 644 "$package" "$tree/opt/luner.deb"
  install -m 755 "$mock" "$tree/opt/mock-llm"
}

# Every path of the tree except the files that dpkg and systemd maintain.
paths() { (cd "$tree" && find . -xdev \( -path ./var/lib/dpkg -o -path ./var/log -o -path ./run -o -path ./proc -o -path ./tmp \) -prune -o -print | LC_ALL=C sort); }

# Installs, runs, removes and purges the package where no systemd runs.
without_systemd() {
  make_tree
  paths >"$scratch/before"
  chroot "$tree" dpkg -i /opt/luner.deb >"$scratch/dpkg.log" 2>&1 || { cat "$scratch/dpkg.log" >&2; die 'dpkg -i failed'; }
  chroot --userspec=65534:65534 "$tree" luner check --config /etc/luner/config.yaml >/dev/null || die 'the packaged configuration has mistakes'
  (cd "$tree" && md5sum --quiet -c var/lib/dpkg/info/luner.md5sums) || die 'the md5sums do not match'
  [[ -z $(find "$tree/usr/bin/luner" "$tree/etc/luner" "$tree"/usr/lib/systemd/system/luner.* ! -user 0) ]] || die 'a file does not belong to root'
  echo '# mine' >>"$tree/etc/luner/config.yaml"
  chroot "$tree" dpkg -r luner >/dev/null || die 'dpkg -r failed'
  grep -q '^# mine' "$tree/etc/luner/config.yaml" || die 'removal deleted the configuration'
  [[ ! -e $tree/usr/bin/luner ]] || die 'removal left the binary'
  chroot "$tree" dpkg -P luner >/dev/null 2>&1 || die 'dpkg -P failed'
  paths >"$scratch/after"
  diff "$scratch/before" "$scratch/after" || die 'purge left files behind, or deleted others'
  say 'without systemd: installed, ran, removed, purged; nothing is left'
}

inside() { nsenter --target "$leader" --all -- "$@"; }

boot() {
  make_tree
  # systemd-nspawn does not allow io_uring by default.
  systemd-nspawn --quiet --directory="$tree" --boot --register=no --keep-unit --private-network --machine="luner-test-$$" \
    --system-call-filter='@aio @keyring' --console=read-only </dev/null >"$scratch/console" 2>&1 &
  nspawn_pid=$!
  for _ in {1..300}; do
    kill -0 "$nspawn_pid" 2>/dev/null || { cat "$scratch/console" >&2; cannot 'systemd-nspawn does not work on this machine'; }
    leader=$(pgrep -P "$nspawn_pid" | head -n1 || true)
    if [[ -n $leader ]] && inside systemctl is-system-running 2>/dev/null | grep -Eqx 'running|degraded'; then
      say "a $SUITE with $(inside systemctl --version | head -n1) has booted"
      return
    fi
    sleep 0.1
  done
  cat "$scratch/console" >&2
  cannot 'systemd does not boot in systemd-nspawn on this machine'
}

# A property of the service.
property() { inside systemctl show --value -p "$1" luner.service; }
healthy() { inside curl -sS --max-time 3 http://127.0.0.1:8080/api/health 2>/dev/null | grep -Eq '"status": ?"ok"'; }
chat() {
  inside curl -sSf --max-time 10 http://127.0.0.1:8080/v1/chat/completions -H 'content-type: application/json' \
    -d '{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}]}'
}

# within SECONDS WHAT COMMAND…: repeats the command until it succeeds, at most for that many seconds.
within() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    ((SECONDS < deadline)) || die "timed out waiting for: $what"
    sleep 0.2
  done
}
is_another_process_than() { local now; now=$(property MainPID); [[ $now != 0 && $now != "$1" ]] && healthy; }

configure() {
  inside sh -c 'cat >/etc/luner/config.yaml' <<'YAML'
version: v1
providers:
  - { name: openai, base_url: "http://127.0.0.1:9000", api_key: "${OPENAI_API_KEY}", models: ["*"] }
YAML
  inside sh -c 'umask 077; echo OPENAI_API_KEY=sk-of-the-test >/etc/luner/luner.env'
  inside systemd-run --quiet --unit=mock-llm /opt/mock-llm --listen 127.0.0.1:9000 --require-key sk-of-the-test
}

start() {
  inside dpkg -i /opt/luner.deb >"$scratch/dpkg.log" 2>&1 || { cat "$scratch/dpkg.log" >&2; die 'dpkg -i failed'; }
  [[ $(property ActiveState) == inactive ]] || die 'installing started the service'
  configure
  inside systemctl enable --quiet --now luner || die 'the service does not start'
  local pid
  pid=$(property MainPID)
  within 10 'health' healthy
  chat >/dev/null || die 'the gateway does not answer'
  # The user exists only while the service runs. The uid and the capabilities are those that the kernel reports.
  [[ $(inside stat -c %U "/proc/$pid") == luner ]] || die "the service runs as $(inside stat -c %U "/proc/$pid")"
  inside awk '/^Uid:/ { exit $2 == 0 } ' "/proc/$pid/status" || die 'the service runs as root'
  inside awk '/^Cap(Prm|Eff|Bnd|Amb):/ && $2 !~ /^0+$/ { bad = 1 } /^NoNewPrivs:/ && $2 != 1 { bad = 1 } /^Seccomp:/ && $2 != 2 { bad = 1 } END { exit bad }' \
    "/proc/$pid/status" || die 'the service has capabilities, may gain some, or runs without a seccomp filter'
  [[ $(inside stat -c %a /var/lib/private/luner/data/luner.db) == 600 ]] || die 'others can read the database'
  say "started: user luner, $(inside curl -sS http://127.0.0.1:8080/api/health | grep -Eo '"io": ?"[^"]*"'), $(inside systemd-analyze security --no-pager luner.service | tail -n1 | tr -s ' ' | cut -d' ' -f2-)"
}

watchdog() {
  local pid
  pid=$(property MainPID)
  inside kill -STOP "$pid"
  within 60 'the watchdog' is_another_process_than "$pid"
  [[ $(property NRestarts) == 1 ]] || die 'the service was not restarted'
  say 'watchdog: a stalled process is replaced'
}

reload() {
  local pid restarts what=$1 failures=$scratch/failures
  shift
  pid=$(property MainPID)
  restarts=$(property NRestarts)
  : >"$failures"
  # Sends requests without a pause meanwhile. Each that fails adds a line to the file.
  touch "$scratch/calling"
  (while [[ -e $scratch/calling ]]; do chat >/dev/null 2>>"$failures" || echo failed >>"$failures"; done) &
  local callers=$!
  inside "$@" >/dev/null 2>"$scratch/reload.log" || { cat "$scratch/reload.log" >&2; die "$what failed"; }
  within 40 "$what: a new process" is_another_process_than "$pid"
  rm "$scratch/calling"
  wait "$callers"
  [[ ! -s $failures ]] || { cat "$failures" >&2; die "$what lost requests"; }
  within 45 "$what: the old process ends" eval "! inside test -e /proc/$pid"
  [[ $(property ActiveState) == active && $(property NRestarts) == "$restarts" ]] || die "$what: restarted instead of handed over"
  say "$what: a new process, no request lost"
}

restart() {
  local pid
  pid=$(property MainPID)
  inside systemctl restart luner || die 'restart failed'
  within 10 'health after restart' is_another_process_than "$pid"
  [[ $(property Result) == success ]] || die "restart: $(property Result)"
  say 'restart: drained and started'
}

broken() {
  inside sed -i 's/^version/verzion/' /etc/luner/config.yaml
  ! inside systemctl restart luner 2>/dev/null || die 'the service starts with a broken configuration'
  within 20 'the service to fail' eval '[[ $(property ActiveState) == failed ]]'
  inside journalctl --no-pager -u luner | grep verzion >/dev/null || die 'the journal does not name the mistake'
  inside sed -i 's/^verzion/version/' /etc/luner/config.yaml
  inside systemctl reset-failed luner
  inside systemctl start luner || die 'the service does not start with the repaired configuration'
  within 10 'health' healthy
  say 'broken configuration: not started, and the journal says why'
}

socket() {
  inside systemctl stop luner
  inside systemctl start luner.socket || die 'luner.socket does not start'
  [[ $(property ActiveState) != active ]] || die 'the service runs before the first request'
  chat >/dev/null || die 'no answer through the activated socket'
  inside systemctl stop luner.socket luner
  say 'socket activation: the first request starts it'
}

purge() {
  inside systemctl start luner
  inside dpkg -P luner >"$scratch/dpkg.log" 2>&1 || { cat "$scratch/dpkg.log" >&2; die 'dpkg -P failed'; }
  inside systemctl is-active --quiet luner && die 'the service still runs'
  ! pgrep -f -P "$leader" /usr/bin/luner >/dev/null || die 'a process is left behind'
  # The journal and the unit of the mock do not belong to the package.
  local left
  left=$(cd "$tree" && find . -xdev \( -path ./proc -o -path ./sys -o -path ./var/log -o -path ./opt \) -prune -o -iname '*luner*' -print)
  [[ -z $left ]] || die "left behind: $left"
  say 'purge: stopped, nothing is left'
}

[[ $(id -u) == 0 ]] || cannot 'this needs root'
command -v apt-get >/dev/null || cannot 'this is neither Debian nor Ubuntu'
if ! command -v mmdebstrap >/dev/null || ! command -v systemd-nspawn >/dev/null; then
  say 'mmdebstrap and systemd-container by apt-get'
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap debian-archive-keyring systemd-container procps; } >"$scratch/apt.log" 2>&1 ||
    { cat "$scratch/apt.log" >&2; cannot 'mmdebstrap and systemd-container cannot be installed'; }
fi

without_systemd
boot
start
watchdog
reload reload systemctl reload luner
restart
reload upgrade dpkg -i /opt/luner.deb
broken
socket
purge
say 'everything passed'
