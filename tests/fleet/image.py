# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The virtual machines' image: Debian 12 with systemd, made once and kept in build/fleet/cache.

An image is a directory named by the digest of its recipe: `disk.raw`, `memory` (the machine right after its boot, so
that a clone starts in about a second), `vmlinuz`, `initrd.img`, and the ssh keys that are baked in.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import qemu
from .errors import FleetError
from .process import run
from .ssh import make_key
from .state import State

CACHE = Path(__file__).resolve().parents[2] / "build" / "fleet" / "cache"
SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian/"
SECURITY = "http://deb.debian.org/debian-security/"
SIZE = "4G"
PACKAGES = [
    "linux-image-cloud-amd64",
    "initramfs-tools",
    "systemd",
    "systemd-sysv",
    "libpam-systemd",
    "dbus",
    "udev",
    "kmod",
    "openssh-server",
    "python3",
    "python3-apt",
    "python3-pyroute2",
    "iproute2",
    "nftables",
    "busybox-static",
    "procps",
    "ca-certificates",
]
MASKED = [
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "e2scrub_reap.service",
    "systemd-networkd-wait-online.service",
]
FILES = {
    "etc/initramfs-tools/conf.d/fleet": "MODULES=list\n",
    "etc/initramfs-tools/modules": "virtio_pci\nvirtio_blk\next4\ncrc32c_generic\n",
    "etc/fstab": "/dev/vda / ext4 discard,errors=remount-ro 0 1\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/hostname": "fleet\n",
    "etc/ssh/sshd_config.d/fleet.conf": "UseDNS no\nMaxSessions 100\nMaxStartups 100:30:200\n",
    "etc/systemd/journald.conf.d/fleet.conf": "[Journal]\nStorage=volatile\n",
    "etc/systemd/system/fleet-shell.service": """\
[Unit]
Description=A root shell on the second serial line, for the maker of this machine
[Service]
ExecStartPre=/bin/stty -F /dev/ttyS1 115200 raw -echo
ExecStart=/bin/sh -c 'echo fleet-shell; exec /bin/sh'
StandardInput=file:/dev/ttyS1
StandardOutput=file:/dev/ttyS1
StandardError=journal
Restart=always
KillSignal=SIGKILL
[Install]
WantedBy=multi-user.target
""",
}
# What a first login and a first module read from the disk; the page cache is part of the memory that is kept.
WARM_UP = """\
systemctl start user@0.service
systemctl stop user@0.service
python3 -c 'import json, subprocess, tempfile, zipfile, pyroute2'
sync
"""
# All but the first line runs with the new root at $root, in a tmpfs that is gone with this shell.
BUILD = """\
mount -t tmpfs -o mode=0755,size=4G fleet-build "$work"
root="$work/root"
mmdebstrap --mode=root --variant=apt --include="$packages" $options \\
    --skip=essential/unlink --skip=download/empty \\
    --setup-hook='mkdir -p "$1/var/cache/apt/archives"' \\
    --setup-hook='cp -a "$debs/." "$1/var/cache/apt/archives/"' \\
    --essential-hook='cp -r "$files/etc/initramfs-tools" "$1/etc/"' \\
    --customize-hook='chroot "$1" apt-get -qq autoclean && rm -f "$debs/"*.deb' \\
    --customize-hook='mv "$1/var/cache/apt/archives/"*.deb "$debs/"' \\
    --customize-hook='cp -r "$files/." "$1/" && chmod -R go= "$1/root"' \\
    --customize-hook='rm -f "$1/etc/ssh/"ssh_host_*' \\
    --customize-hook='install -m 600 "$image/host_key" "$1/etc/ssh/ssh_host_ed25519_key"' \\
    --customize-hook='chroot "$1" systemctl --quiet enable systemd-networkd.service fleet-shell.service' \\
    --customize-hook='chroot "$1" systemctl --quiet mask $masked' \\
    "$suite" "$root" "$sources"
cp "$root"/boot/vmlinuz-* "$image/vmlinuz"
cp "$root"/boot/initrd.img-* "$image/initrd.img"
rm -rf "$root"/boot/*
mkfs.ext4 -q -L fleet -d "$root" "$image/disk.raw" "$size"
"""


def recipe_digest() -> str:
    """Names the image: what goes in, who builds it, and the emulator that its memory is of."""
    recipe = Path(__file__).read_bytes() + Path(qemu.__file__).read_bytes() + run([qemu.QEMU, "--version"]).encode()
    return hashlib.blake2s(recipe, digest_size=8).hexdigest()


def get_image(state: State, cache: Path = CACHE) -> Path:
    """The image's directory; builds it first where it is not cached."""
    image = cache / recipe_digest()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second fleet waits for the first one's build
        if not image.exists():
            for old in cache.iterdir():
                if old.is_dir() and old.name != "debs":
                    shutil.rmtree(old)
            new = image.with_suffix(".new")
            (new / "files").mkdir(parents=True)
            _build_disk(state, new, cache)
            _save_memory(state, new)
            new.rename(image)
    return image


@contextmanager
def progress(what: str) -> Iterator[None]:
    sys.stderr.write(f"fleet: {what} ... ")
    sys.stderr.flush()
    start = time.monotonic()
    try:
        yield
    except BaseException:
        sys.stderr.write("failed\n")
        raise
    sys.stderr.write(f"{time.monotonic() - start:.0f} s\n")


def parse_mirrors(index_targets: str) -> tuple[str, str]:
    """(main, security): the Debian mirrors in apt's own words, each the public one where apt names none."""
    mirrors = dict(line.split("|", 1) for line in index_targets.splitlines())
    return mirrors.get("Debian") or MIRROR, mirrors.get("Debian-Security") or SECURITY


def _sources() -> str:
    mirror, security = parse_mirrors(
        run(["apt-get", "indextargets", "--format", "$(LABEL)|$(REPO_URI)", "Created-By: Packages", "Origin: Debian"])
    )
    return f"deb {mirror} {SUITE} main\ndeb {mirror} {SUITE}-updates main\ndeb {security} {SUITE}-security main\n"


def _apt_options() -> str:
    """The machine's proxies, for a machine that reaches its mirror through one."""
    lines = run(["apt-config", "dump", "--format", '%f "%v";%n']).splitlines()
    return " ".join(
        "--aptopt=" + shlex.quote(line)
        for line in lines
        if line.lower().startswith("acquire::") and "proxy" in line.lower() and '""' not in line
    )


def _build_disk(state: State, image: Path, cache: Path) -> None:
    user_key = make_key(image / "id_ed25519", "fleet")
    make_key(image / "host_key", "fleet")
    files = {**FILES, "root/.ssh/authorized_keys": f"{user_key}\n"}
    for name, text in files.items():
        (image / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (image / "files" / name).write_text(text)
    work, debs, sources = image / "work", cache / "debs", image / "sources.list"
    work.mkdir()
    debs.mkdir(exist_ok=True)
    sources.write_text(_sources())
    values = {
        "work": work,
        "image": image,
        "files": image / "files",
        "debs": debs,
        "sources": sources,
        "suite": SUITE,
        "size": SIZE,
        "packages": ",".join(PACKAGES),
        "masked": " ".join(MASKED),
    }
    script = "set -eu\n" + "".join(f"export {key}={shlex.quote(str(value))}\n" for key, value in values.items())
    script += BUILD.replace("$options", _apt_options())
    log = state.directory / "image.log"
    with progress("building the Debian 12 image with mmdebstrap, once for this recipe"):
        # in a pid namespace of its own: apt and dpkg end with the shell, whoever kills it
        child = state.spawn(
            [
                *qemu.GATE,
                "unshare",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "/bin/sh",
                "-c",
                f"exec >&2\n{script}",
            ],
            log,
        )
        child.communicate("go\n")
        if child.returncode:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            raise FleetError(f"the image could not be built:\n{tail}")
    shutil.rmtree(image / "files")
    work.rmdir()


def _save_memory(state: State, image: Path) -> None:
    with progress("booting it once, and keeping its memory"):
        argv = qemu.qemu_argv(
            image, image / "disk.raw", "raw", "tap0", state.sockets, "image", log=state.directory / "boot.log"
        )
        child = state.spawn(
            [*argv[: len(qemu.GATE)], "unshare", "--net", *argv[len(qemu.GATE) :]], state.directory / "qemu.log"
        )
        assert child.stdin
        child.stdin.write("go\n")
        child.stdin.flush()
        try:
            sockets = state.sockets
            with qemu.Monitor(sockets / "image.qmp") as monitor, qemu.Shell(sockets / "image.shell") as shell:
                shell.await_greeting("fleet-shell", timeout=300)
                shell.run("systemctl is-system-running --wait || systemctl --failed --no-legend", timeout=300)
                shell.run(WARM_UP, timeout=120)
                monitor.save_memory(image / "memory")
                monitor.execute("quit")
            child.communicate()
        except FleetError as error:
            console = (
                (state.directory / "boot.log").read_text(errors="replace")
                if os.path.exists(state.directory / "boot.log")
                else ""
            )
            raise FleetError(
                f"{error}\nqemu said: {(state.directory / 'qemu.log').read_text()}\n"
                f"the console's end:\n{console[-2000:]}"
            ) from error
