#!/usr/bin/env bash
# Checks the deployment files with the tools that will read them: Docker, Compose, systemd, Kubernetes, GitHub, the shell.
# Installs the tools in target/tools (Python packages, Go programs, one Debian package). If a tool cannot be installed, its check
# is listed at the end as not done, and with CI set that is a failure. LUNER_BIN chooses the binary; by default cargo builds a
# debug one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/tools/bin"
tools=$(cd "$target/tools" && pwd)
export PATH=$tools/bin:$tools/deploy/bin:$PATH
# Versions of the Go programs. Those of the Python packages are in requirements.txt.
readonly ACTIONLINT=github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
readonly KUSTOMIZE=sigs.k8s.io/kustomize/kustomize/v5@v5.7.1
# Worst exposure that `systemd-analyze security` may report, from 0 (best) to 10.
readonly EXPOSURE_MAX=2.0

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
not_checked=()

say() { printf '==> deploy: %s\n' "$*"; }
die() {
  printf 'deploy: %s\n' "$*" >&2
  exit 1
}
skip_check() { not_checked+=("$*"); }
# Runs a command and shows its output only if it fails.
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

# go_tool NAME MODULE installs a program at the version in MODULE. The version is part of the stamp's name.
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
  debian_tool shellcheck || { skip_check 'scripts: shellcheck is missing'; return; }
  local files
  mapfile -t files < <(git ls-files -z --cached --others --exclude-standard | xargs -0 grep -lE '^#!/(usr/bin/env bash|bin/(ba)?sh)$')
  say "${#files[@]} shell scripts"
  # A script may source another one from its own folder or from the root.
  shellcheck -x -P SCRIPTDIR -P . -- "${files[@]}"
}

images() {
  say 'Dockerfile, seccomp profile'
  hadolint Dockerfile
  local status=0
  deployments/docker/seccomp.sh --check || status=$?
  case $status in
    0) ;;
    75) skip_check 'seccomp profile: Docker'\''s default profile is not available' ;;
    *) die 'deployments/docker/seccomp.json is not what seccomp.sh writes' ;;
  esac
}

# Checks the files as Compose itself reads them, each as one JSON document.
compose() {
  { command -v go >/dev/null && go build -C tests/deploy/compose -buildvcs=false -o "$tools/bin/compose-config" .; } ||
    { skip_check 'compose files: compose-config cannot be built'; return; }
  say 'compose files'
  local prod=deployments/production
  compose-config docker-compose.yml >"$scratch/demo.json"
  compose-config docker-compose.yml docker-compose.monitoring.yml >"$scratch/monitoring.json"
  mkdir "$scratch/prod" && cp "$prod/docker-compose.prod.yml" "$scratch/prod/"
  for missing in DASHSCOPE_API_KEY LUNER_ADMIN_TOKEN; do
    ! (cd "$scratch/prod" && env DASHSCOPE_API_KEY=x LUNER_ADMIN_TOKEN=x "$missing=" compose-config docker-compose.prod.yml) >"$scratch/log" 2>&1 ||
      die "docker-compose.prod.yml accepts that $missing is not set"
    grep -q "$missing" "$scratch/log" || { cat "$scratch/log" >&2; die "the error does not name $missing"; }
  done
  # Fills in .env.example as its README describes.
  sed -E 's/^([A-Z_]+)=$/\1=0123456789abcdef/' "$prod/.env.example" >"$scratch/prod/.env"
  (cd "$scratch/prod" && compose-config docker-compose.prod.yml) >"$scratch/prod.json"
  git check-ignore --quiet "$prod/.env" || die "$prod/.env is not ignored by git"
  python3 tests/deploy/compose.py "$scratch"/{demo,monitoring,prod}.json
}

systemd() {
  command -v systemd-analyze >/dev/null || { skip_check 'systemd units: systemd-analyze is missing'; return; }
  say 'systemd units'
  mkdir "$scratch/units"
  for unit in luner.service luner.socket; do
    sed "s|/usr/bin/luner|$luner|" "deployments/systemd/$unit" >"$scratch/units/$unit"
  done
  systemd-analyze verify --recursive-errors=no "$scratch"/units/luner.{service,socket} >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; die 'systemd-analyze verify'; }
  [[ ! -s $scratch/log ]] || { cat "$scratch/log" >&2; die 'systemd-analyze verify printed a warning'; }
  local exposure
  exposure=$(systemd-analyze security --offline=true --no-pager deployments/systemd/luner.service | sed -n 's/.*Overall exposure level for luner.service: \([0-9.]*\).*/\1/p')
  awk -v is="$exposure" -v most=$EXPOSURE_MAX 'BEGIN { exit !(is != "" && is <= most) }' || die "exposure '$exposure', at most $EXPOSURE_MAX"
  say "exposure $exposure of 10"
}

kustomize_build() {
  if command -v kubectl >/dev/null; then kubectl kustomize "$1"; else kustomize build "$1"; fi
}

kubernetes() {
  command -v kubectl >/dev/null || go_tool kustomize "$KUSTOMIZE" || { skip_check 'Kubernetes: kubectl and kustomize are missing'; return; }
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
  go_tool actionlint "$ACTIONLINT" || { skip_check 'workflows: actionlint cannot be built'; return; }
  actionlint
}

# Checks every luner config in the tree, with a value for each variable that it uses.
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
  ! grep -q /usr/bin/luner "$root/opt/luner/lib/systemd/system/luner.service" || die 'the unit does not start the installed luner'
  "$root/opt/luner/bin/luner" check --config "$root/etc/luner/config.yaml" >/dev/null 2>&1 || die 'the installed config is invalid'
  echo '# mine' >>"$root/etc/luner/config.yaml"
  quietly make --no-print-directory install LUNER="$luner" DESTDIR="$root" prefix=/opt/luner
  grep -q '^# mine' "$root/etc/luner/config.yaml" || die 'make install overwrites the config'
  quietly make --no-print-directory uninstall DESTDIR="$root" prefix=/opt/luner
  [[ $(find "$root" -type f) == "$root/etc/luner/config.yaml" ]] || die "make uninstall leaves $(find "$root" -type f)"
}

luner=${LUNER_BIN:-$target/debug/luner}
[[ -n ${LUNER_BIN:-} ]] || cargo build --quiet --locked --bin luner
luner=$(realpath "$luner")
python_tools || die 'the Python packages of tests/deploy/requirements.txt cannot be installed'
for check in scripts images compose systemd kubernetes workflows configurations installs; do
  "$check"
done
for what in "${not_checked[@]}"; do
  say "NOT CHECKED: $what"
done
[[ -z ${CI:-} || ${#not_checked[@]} -eq 0 ]] || die 'in CI, every check must run'
