# Sourced by run.sh and bench.sh. `need TOOL...` ends the script if a tool is missing, and prints how to install it.
need() {
    local tool missing=()
    for tool in "$@"; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    ((${#missing[@]})) || return 0
    echo "${0##*/}: missing: ${missing[*]}" >&2
    echo "  Debian, Ubuntu:  apt-get install wrk nginx-light util-linux python3" >&2
    echo "  Fedora:          dnf install wrk nginx util-linux python3" >&2
    echo "  Arch:            pacman -S wrk nginx util-linux python" >&2
    echo "  cargo:           https://rustup.rs" >&2
    exit 1
}
