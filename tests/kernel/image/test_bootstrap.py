# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images out of a distribution's packages, by the distributions' own programs and archives."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import BuildFailed, InvalidOption, NotFound
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.bootstrap import (
    bootstrap_image,
    check_bootstrap,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.isolated import run_isolated
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.bootstrap import Bootstrap
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import ImageConfig
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.bootstrap import plan_bootstrap

from .conftest import run

ENGINE = "ansible_collections.stowage.engine.plugins.module_utils._engine"
NAME = "docker.io/library/system:1"
EPOCH = 1_767_225_600
SMALL = Bootstrap(NAME, "bookworm", "mmdebstrap", "extract", ("busybox-static",), epoch=EPOCH)


def layer_of(paths: Paths) -> Path:
    """The one layer of the image, unpacked."""
    image = observe_images(paths)[NAME]
    assert image.missing == ()
    (diff_id,) = image.layers
    return Path(paths.layer(diff_id))


def make(paths: Paths, bootstrap: Bootstrap) -> str:
    said: list[str] = []
    digest = bootstrap_image(paths, bootstrap, said.append)
    assert len(said) > 1
    assert os.listdir(paths.build_cache) == []
    assert not list(plan_bootstrap(bootstrap, observe_images(paths)[NAME]))
    return digest


def test_two_hosts_come_to_the_same_digest(tmp_path: Path) -> None:
    config = ImageConfig(command=("/bin/sh",), env=(("A", "b"),), labels=(("org.example", "x"),))
    wanted = Bootstrap(NAME, "bookworm", "mmdebstrap", "essential", epoch=EPOCH, config=config)
    hosts = [Paths(str(tmp_path / host / "lib"), str(tmp_path / host / "run")) for host in "ab"]
    digests = []
    for paths in hosts:
        digests.append(make(paths, wanted))
        time.sleep(1)  # files that the second made have other times
    assert digests[0] == digests[1]
    image = observe_images(hosts[0])[NAME]
    assert (image.config.command, image.config.env) == (("/bin/sh",), (("A", "b"),))
    assert image.created == "2026-01-01T00:00:00Z"
    root = layer_of(hosts[0])
    assert "VERSION_CODENAME=bookworm" in (root / "etc/os-release").read_text()
    assert run("dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f=${db:Status-Status}", "dash") == "installed"
    assert run("chroot", str(root), "/bin/sh", "-c", "id -u; dpkg --audit") == "0\n"
    for path in ("dev", "run", "tmp"):
        assert list((root / path).iterdir()) == [], path
    for path in ("var/log", "var/cache/apt", "var/lib/apt/lists"):
        assert [inner for inner in (root / path).rglob("*") if not inner.is_dir()] == [], path
    assert not any((root / path).exists() for path in ("etc/hostname", "etc/resolv.conf", "etc/passwd-"))
    assert max(path.lstat().st_mtime for path in root.rglob("*")) <= EPOCH
    assert stat.S_IMODE((root / "bin/su").stat().st_mode) == 0o4755


def test_debootstrap(paths: Paths) -> None:
    if not shutil.which("debootstrap"):
        pytest.skip("needs debootstrap")
    make(paths, Bootstrap(NAME, "bookworm", "debootstrap", packages=("busybox-static",)))
    root = layer_of(paths)
    assert (root / "bin/busybox").exists() and not (root / "debootstrap").exists()
    assert run("chroot", str(root), "/usr/bin/dpkg", "--audit") == ""


def test_dnf(paths: Paths, tmp_path: Path) -> None:
    programs = ("dnf", "createrepo_c", "rpmbuild")
    if lacking := [program for program in programs if not shutil.which(program)]:
        pytest.skip(f"needs {lacking[0]}")
    spec = tmp_path / "hello.spec"
    spec.write_text(
        "Name: hello\nVersion: 1\nRelease: 1\nSummary: x\nLicense: MIT\nBuildArch: noarch\n"
        "%description\nx\n%install\nmkdir -p %{buildroot}/usr/share\necho hi > %{buildroot}/usr/share/hello\n"
        "%files\n/usr/share/hello\n"
    )
    run("rpmbuild", "-bb", "--quiet", "--define", f"_topdir {tmp_path}/build", str(spec))
    repository = tmp_path / "build/RPMS"
    run("createrepo_c", "-q", str(repository))
    wanted = Bootstrap(NAME, "41", "dnf", packages=("hello",), mirrors=(f"file://{repository}",), epoch=EPOCH)
    make(paths, wanted)
    root = layer_of(paths)
    assert (root / "usr/share/hello").read_text() == "hi\n"
    assert not [path for path in (root / "var/cache").rglob("*") if path.is_file()]
    with pytest.raises(BuildFailed, match="dnf of 41: it ended with status 1") as failed:
        bootstrap_image(paths, replace(wanted, packages=("hello", "no-such-package")))
    assert "no-such-package" in failed.value.output


def test_a_suite_that_does_not_exist_fails_and_leaves_the_image_that_was_there(paths: Paths) -> None:
    digest = make(paths, SMALL)
    with pytest.raises(BuildFailed, match="mmdebstrap of nosuchsuite: it ended with status") as failed:
        bootstrap_image(paths, replace(SMALL, suite="nosuchsuite"))
    assert "nosuchsuite" in failed.value.output
    assert observe_images(paths)[NAME].digest == digest
    assert os.listdir(paths.build_cache) == []


def test_killed_it_leaves_no_process_and_no_mount_and_the_next_run_works(paths: Paths) -> None:
    code = (
        f"from {ENGINE}.image.build.bootstrap import bootstrap_image\n"
        f"from {ENGINE}.model.bootstrap import Bootstrap\n"
        f"from {ENGINE}.model.image import ImageConfig\n"
        f"from {ENGINE}.paths import Paths\n"
        f"bootstrap_image(Paths({paths.root!r}, {paths.run_root!r}), {SMALL!r})\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    work = Path(paths.build_cache, "bootstrap")
    try:
        deadline = time.monotonic() + 60
        while not (work / "root/var").exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        assert users_of(work)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 10
    while users_of(work) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert users_of(work) == []
    assert str(work) not in Path("/proc/self/mounts").read_text()
    assert NAME not in observe_images(paths)
    make(paths, SMALL)


def users_of(known: str | Path) -> list[str]:
    """The command lines of the processes that know of a directory, or bear a name."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            if os.fsencode(known) in words:
                found.append(words.decode(errors="replace"))
    return found


def test_too_long_a_run_is_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    mark = f"sleep {tmp_path.name}"
    script = f"echo begun; (exec -a '{mark}' sleep 100) & mount -t tmpfs x {tmp_path}; wait"
    said: list[str] = []
    with pytest.raises(BuildFailed, match=r"a test, stopped after 1 s: .*\nbegun"):
        run_isolated(["/bin/bash", "-c", script], env={"PATH": os.defpath}, timeout=1, told="a test", tell=said.append)
    assert said == ["begun"]
    assert users_of(mark) == []
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


def test_what_is_left_running_ends_with_the_program(tmp_path: Path) -> None:
    script = f"(sleep 1; echo late > {tmp_path}/late) >/dev/null 2>&1 & echo $$"
    said: list[str] = []
    run_isolated(["/bin/sh", "-c", script], env={"PATH": os.defpath}, timeout=20, told="a test", tell=said.append)
    assert said == ["2"]  # the second process of its own namespace
    time.sleep(1.5)
    assert not (tmp_path / "late").exists()


def test_what_cannot_be_is_refused_before_anything_is_done(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    module = f"{ENGINE}.image.build.bootstrap"
    for wanted, expected in (
        (replace(SMALL, keyring="/nowhere.gpg"), (NotFound, "/nowhere.gpg.*keyring")),
        (replace(SMALL, program="debootstrap"), (InvalidOption, "variant: 'extract' .*minbase, buildd or important")),
        (replace(SMALL, program="dnf"), (InvalidOption, "variant: 'extract' .*nothing with dnf")),
        (replace(SMALL, program="dnf", variant="", packages=()), (InvalidOption, "packages: .*such as")),
        (replace(SMALL, program="debootstrap", variant="", mirrors=("a", "b")), (InvalidOption, "mirrors: 'b' .*one")),
    ):
        if wanted.program != "mmdebstrap":
            monkeypatch.setattr(f"{module}._find", lambda name: (name, f"/usr/bin/{name}"))
        with pytest.raises(expected[0], match=expected[1]):
            check_bootstrap(wanted)
    monkeypatch.undo()
    monkeypatch.setattr(f"{module}._PATH", "/nowhere")
    with pytest.raises(NotFound, match=r"program 'mmdebstrap, debootstrap or dnf' .*on Debian and Ubuntu mmdebstrap"):
        bootstrap_image(paths, replace(SMALL, program=""))
    with pytest.raises(NotFound, match=r"program 'debootstrap' .*install the package debootstrap"):
        bootstrap_image(paths, replace(SMALL, program="debootstrap"))
    assert not os.path.exists(paths.root)
