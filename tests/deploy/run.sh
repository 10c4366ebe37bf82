#!/usr/bin/env bash
# Holds what ships luner to the tools of those who will read it: Docker, Compose, systemd, Kubernetes, GitHub, the shell.
# Installs the tools below target/ (Python packages, Go programs, one Debian package). A check whose tool cannot be had is named
# at the end as not done; where CI is set, that is a failure. LUNER_BIN chooses the binary; cargo builds a debug one otherwise.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/tools/bin"
tools=$(cd "$target/tools" && pwd)
export PATH=$tools/bin:$tools/deploy/bin:$PATH
# Versions of the Go programs; those of the Python packages stand in requirements.txt.
readonly ACTIONLINT=github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
readonly KUSTOMIZE=sigs.k8s.io/kustomize/kustomize/v5@v5.7.1
# `systemd-analyze security`: 0 is best, 10 worst.
readonly EXPOSURE_MAX=2.0

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
left_out=()

say() { printf '==> deploy: %s\n' "$*"; }
die() {
  printf 'deploy: %s\n' "$*" >&2
  exit 1
}
cannot() { left_out+=("$*"); }
# Runs a command, and shows what it said only when it fails.
quietly() { "$@" >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; die "$* failed"; }; }

python_tools() {
  local stamp=$tools/deploy/.installed wanted
  wanted=$({ python3 --version && pwd && cat tests/deploy/requirements.txt; } | sha256sum)
  [[ -e $stamp && $(<"$stamp") == "$wanted" ]] && return
  say 'Python packages'
  rm -rf "$tools/deploy"
  python3 -m venv "$tools/deploy" &&
    "$tools/deploy/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -r tests/deploy/requirements.txt &&
    printf '%s\n' "$wanted" >"$stamp"
}

# go_tool NAME MODULE: the program of that version; the version is part of the stamp's name.
go_tool() {
  local stamp=$tools/bin/.$1-${2##*@}
  [[ -e $stamp ]] && return
  command -v go >/dev/null || return 1
  say "$1 ${2##*@}"
  GOBIN=$tools/bin GOFLAGS=-buildvcs=false go install "$2" >"$scratch/go.log" 2>&1 || { cat "$scratch/go.log" >&2; return 1; }
  touch "$stamp"
}

debian_tool() {
  command -v "$1" >/dev/null && return
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
  say "$1 from the Debian package"
  (cd "$scratch" && { apt-get download "$1" || { apt-get update && apt-get download "$1"; }; }) >"$scratch/apt.log" 2>&1 || return 1
  dpkg-deb -x "$scratch/$1"_*.deb "$scratch/package" && install "$scratch/package/usr/bin/$1" "$tools/bin/$1"
}

scripts() {
  debian_tool shellcheck || { cannot 'scripts: there is no shellcheck'; return; }
  local files
  mapfile -t files < <(git ls-files -z --cached --others --exclude-standard | xargs -0 grep -lE '^#!/(usr/bin/env bash|bin/(ba)?sh)$')
  say "${#files[@]} shell scripts"
  # -x and both places: a script may source another, from its own folder or from the root.
  shellcheck -x -P SCRIPTDIR -P . -- "${files[@]}"
}

images() {
  say 'Dockerfile, seccomp profile'
  hadolint Dockerfile
  local status=0
  deployments/docker/seccomp.sh --check || status=$?
  case $status in
    0) ;;
    75) cannot 'seccomp profile: Docker'\''s default cannot be had' ;;
    *) die 'deployments/docker/seccomp.json is not what seccomp.sh writes' ;;
  esac
}

# The files as Compose itself reads them, one JSON each.
compose() {
  { command -v go >/dev/null && go build -C tests/deploy/compose -buildvcs=false -o "$tools/bin/compose-config" .; } ||
    { cannot 'compose files: compose-config cannot be built'; return; }
  say 'compose files'
  local prod=deployments/production
  compose-config docker-compose.yml >"$scratch/demo.json"
  compose-config docker-compose.yml docker-compose.monitoring.yml >"$scratch/monitoring.json"
  mkdir "$scratch/prod" && cp "$prod/docker-compose.prod.yml" "$scratch/prod/"
  for missing in DASHSCOPE_API_KEY LUNER_ADMIN_TOKEN; do
    ! (cd "$scratch/prod" && env DASHSCOPE_API_KEY=x LUNER_ADMIN_TOKEN=x "$missing=" compose-config docker-compose.prod.yml) >"$scratch/log" 2>&1 ||
      die "docker-compose.prod.yml does without $missing"
    grep -q "$missing" "$scratch/log" || { cat "$scratch/log" >&2; die "the complaint does not name $missing"; }
  done
  # As the README says: .env.example filled in.
  sed -E 's/^([A-Z_]+)=$/\1=0123456789abcdef/' "$prod/.env.example" >"$scratch/prod/.env"
  (cd "$scratch/prod" && compose-config docker-compose.prod.yml) >"$scratch/prod.json"
  git check-ignore --quiet "$prod/.env" || die "$prod/.env is not ignored by git"
  python3 tests/deploy/compose.py "$scratch"/{demo,monitoring,prod}.json
}

systemd() {
  command -v systemd-analyze >/dev/null || { cannot 'systemd units: there is no systemd-analyze'; return; }
  say 'systemd units'
  mkdir "$scratch/units"
  for unit in luner.service luner.socket; do
    sed "s|/usr/bin/luner|$luner|" "deployments/systemd/$unit" >"$scratch/units/$unit"
  done
  systemd-analyze verify --recursive-errors=no "$scratch"/units/luner.{service,socket} >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; die 'systemd-analyze verify'; }
  [[ ! -s $scratch/log ]] || { cat "$scratch/log" >&2; die 'systemd-analyze verify has something to say'; }
  local exposure
  exposure=$(systemd-analyze security --offline=true --no-pager deployments/systemd/luner.service | sed -n 's/.*Overall exposure level for luner.service: \([0-9.]*\).*/\1/p')
  awk -v is="$exposure" -v most=$EXPOSURE_MAX 'BEGIN { exit !(is != "" && is <= most) }' || die "exposure '$exposure', at most $EXPOSURE_MAX"
  say "exposure $exposure of 10"
}

kustomize_build() {
  if command -v kubectl >/dev/null; then kubectl kustomize "$1"; else kustomize build "$1"; fi
}

kubernetes() {
  command -v kubectl >/dev/null || go_tool kustomize "$KUSTOMIZE" || { cannot 'Kubernetes: there is neither kubectl nor kustomize'; return; }
  say 'Kubernetes'
  local folder=deployments/kubernetes
  kustomize_build $folder >"$scratch/base.yaml"
  cp -r $folder "$scratch/kubernetes"
  echo 'components: [io-uring]' >>"$scratch/kubernetes/kustomization.yaml"
  kustomize_build "$scratch/kubernetes" >"$scratch/io-uring.yaml"
  quietly kubernetes-validate --strict "$scratch/base.yaml" "$scratch/io-uring.yaml" $folder/secret.example.yaml
  "$tools/deploy/bin/python" tests/deploy/kubernetes.py "$scratch/base.yaml" "$scratch/io-uring.yaml" $folder/secret.example.yaml
}

workflows() {
  say 'workflows'
  check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
  check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
  zizmor --offline --no-progress --quiet .github
  go_tool actionlint "$ACTIONLINT" || { cannot 'workflows: actionlint cannot be built'; return; }
  actionlint
}

# Every configuration of luner's in the tree, with a value for each variable it names.
configurations() {
  say 'configurations'
  local file names
  while IFS= read -r file; do
    mapfile -t names < <(grep -v '^ *#' "$file" | grep -oE '\$\{[A-Z_]+\}' | tr -cd 'A-Z_\n' | sort -u)
    quietly env "${names[@]/%/=0123456789abcdef}" "$luner" check --config "$file"
  done < <(git ls-files --cached --others --exclude-standard '*.yaml' '*.yml' | xargs grep -lE '^version: v1\b')
}

installs() {
  say 'make install, make uninstall'
  local root=$scratch/root
  quietly make --no-print-directory install LUNER="$luner" DESTDIR="$root" prefix=/opt/luner
  for file in opt/luner/bin/luner opt/luner/lib/systemd/system/luner.service etc/luner/config.yaml; do
    [[ -s $root/$file ]] || die "make install leaves $file out"
  done
  ! grep -q /usr/bin/luner "$root/opt/luner/lib/systemd/system/luner.service" || die 'the unit starts another luner than was installed'
  "$root/opt/luner/bin/luner" check --config "$root/etc/luner/config.yaml" >/dev/null 2>&1 || die 'what it installs as configuration has mistakes'
  echo '# mine' >>"$root/etc/luner/config.yaml"
  quietly make --no-print-directory install LUNER="$luner" DESTDIR="$root" prefix=/opt/luner
  grep -q '^# mine' "$root/etc/luner/config.yaml" || die 'make install overwrites the configuration'
  quietly make --no-print-directory uninstall DESTDIR="$root" prefix=/opt/luner
  [[ $(find "$root" -type f) == "$root/etc/luner/config.yaml" ]] || die "make uninstall leaves $(find "$root" -type f)"
}

luner=${LUNER_BIN:-$target/debug/luner}
[[ -n ${LUNER_BIN:-} ]] || cargo build --quiet --locked --bin luner
luner=$(realpath "$luner")
python_tools || die 'the Python packages of tests/deploy/requirements.txt cannot be had'
for check in scripts images compose systemd kubernetes workflows configurations installs; do
  "$check"
done
for what in "${left_out[@]}"; do
  say "NOT CHECKED: $what"
done
[[ -z ${CI:-} || ${#left_out[@]} -eq 0 ]] || die 'in CI, everything is checked'
