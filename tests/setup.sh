#!/usr/bin/env bash
# Sets up what the Makefile's targets need. Each step says what it does, and does nothing where nothing is missing.
#   tests/setup.sh packages demo|test    Debian packages (root, on Debian-like systems only)
#   tests/setup.sh venv run|test         build/venv, with what tests/requirements/run.txt or test.txt pins
set -euo pipefail
cd "$(dirname "$0")/.."

# What the demo needs of the system: its hosts are namespaces of this machine.
packages_demo=(python3 python3-venv python3-pyroute2 iproute2 nftables openssh-server openssh-client busybox-static
    ca-certificates procps curl)
# The peers, the virtual machine and the registry of the tests, over packages_demo.
# shellcheck disable=SC2034 # read by name in setup_packages
packages_test=("${packages_demo[@]}" git make runc crun conmon podman buildah containerd criu skopeo umoci
    docker-registry strace mmdebstrap debootstrap dnf createrepo-c debian-archive-keyring qemu-system-x86 qemu-user
    qemu-utils e2fsprogs iptables jq shellcheck uidmap
    golang-github-opencontainers-specs-dev apparmor python3-seccomp rpm openssl)
# Docker's own packages would have to go for Debian's.
command -v dockerd >/dev/null || packages_test+=(docker.io)

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

missing_packages() { # those of the arguments that are not installed
    comm -23 <(printf '%s\n' "$@" | sort -u) \
        <(dpkg-query -W -f='${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n 's/^installed //p' | sort -u)
}

known_packages() { # those of the arguments that apt can install; the others are told
    local package
    for package in "$@"; do
        if apt-cache show "$package" >/dev/null 2>&1; then
            echo "$package"
        else
            echo "warning: apt knows no package '$package' here; the tests that need it will say so" >&2
        fi
    done
}

setup_packages() {
    local list="packages_$1[@]" missing
    if ! command -v dpkg-query >/dev/null; then
        say "Not a Debian-like system: see to it yourself that these are there: ${!list}"
        return
    fi
    mapfile -t missing < <(missing_packages "${!list}")
    [ "${#missing[@]}" -gt 0 ] || return 0
    say "Installing ${#missing[@]} Debian packages for $1: ${missing[*]}"
    [ "$(id -u)" = 0 ] || die "packages are missing and only root can install them: sudo apt-get install ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    mapfile -t missing < <(known_packages "${missing[@]}")
    [ "${#missing[@]}" -gt 0 ] || return 0
    hold_services
    apt-get install -q -y --no-install-recommends "${missing[@]}" </dev/null
}

# We want the programs, not the services: nothing that we install is to start listening on this machine by itself.
# policy-rc.d is Debian's own switch for that (/usr/share/doc/init-system-helpers/README.policy-rc.d.gz); it also lets
# openssh-server install where there is no systemd.
hold_services() {
    [ ! -e /usr/sbin/policy-rc.d ] || return 0
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
}

setup_venv() {
    local python=/usr/bin/python3 requirements=tests/requirements/$1.txt # the system's own Python, not a version manager's shim
    [ -x "$python" ] || python=$(command -v python3) || die "there is no python3; ansible-core 2.19 needs 3.11 or later"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$python is $("$python" -V); ansible-core 2.19 on the controller needs Python 3.11 or later"
    if ! build/venv/bin/python -c '' 2>/dev/null; then
        say "Making the virtual environment build/venv with $python"
        rm -rf build/venv
        "$python" -m venv build/venv
    fi
    say "Installing $requirements in build/venv"
    build/venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$requirements"
}

case "${1:-} ${2:-}" in
    "packages demo" | "packages test" | "venv run" | "venv test") "setup_$1" "$2" ;;
    *) sed -n '2,4s/^# //p' "$0" >&2; exit 2 ;;
esac
