# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image out of a distribution's packages, by its own program: mmdebstrap(1), debootstrap(8) or dnf(8).

Promises: the name means the image only once it is whole; what the program mounts or starts ends with it, and what a
killed one has left is removed by the next; the image has nothing in it of when and where it was made (logs, caches,
indexes, host keys, the machine's id), so that the same packages and ``epoch`` give the same digest where the program
itself comes to the same files. Debian's packages are verified against the keyring, as the program does it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import time
from dataclasses import replace

from ...errors import InvalidOption, KernelError, NotFound
from ...linux.files import exclusive_lock
from ...linux.isolated import run_isolated
from ...linux.process import find_program
from ...model.bootstrap import BOOTSTRAP_LABEL, Bootstrap
from ..layer.unpack import remove_tree
from .commit import commit_image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ...paths import Paths

_PROGRAMS = ("mmdebstrap", "debootstrap", "dnf")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
# Directories whose files go while they stay, with those in them: programs want them, owned as they are.
_EMPTIED = (
    "dev", "run", "tmp", "var/tmp", "var/log", "var/cache/apt", "var/lib/apt/lists", "var/cache/dnf", "var/lib/dnf",
    "var/cache/man", "var/cache/ldconfig",
)  # fmt: skip
_REMOVED = (
    "etc/hostname", "etc/resolv.conf", "etc/.pwd.lock", "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-",
    "etc/subuid-", "etc/subgid-", "etc/apt/sources.list~", "var/lib/dbus/machine-id", "var/lib/systemd/random-seed",
    "var/lib/dpkg/status-old", "var/lib/dpkg/available-old", "var/lib/dpkg/diversions-old", "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend", "var/lib/dpkg/statoverride-old", "var/lib/dpkg/triggers/Lock",
    "var/cache/debconf/config.dat-old", "var/cache/debconf/templates.dat-old", "var/cache/debconf/passwords.dat-old",
    "var/lib/apt/extended_states-old", "debootstrap",
)  # fmt: skip


def check_bootstrap(bootstrap: Bootstrap) -> str:
    """The path of the program that is to be run. Only reads.

    Raises NotFound where the host has none or lacks the keyring, InvalidOption where the program cannot do what is
    asked for.
    """
    name, program = _find(bootstrap.program)
    if bootstrap.keyring and not os.path.isfile(bootstrap.keyring):
        raise NotFound("file", bootstrap.keyring, "it is the keyring; install or copy it first")
    if name == "debootstrap":
        if bootstrap.variant not in ("", "minbase", "buildd", "important"):
            raise InvalidOption("variant", bootstrap.variant, "minbase, buildd or important, which debootstrap has")
        if len(bootstrap.mirrors) > 1:
            raise InvalidOption("mirrors", bootstrap.mirrors[1], "one mirror, for debootstrap; mmdebstrap takes many")
    if name == "dnf":
        for option, value in (("variant", bootstrap.variant), ("components", ",".join(bootstrap.components))):
            if value:
                raise InvalidOption(option, value, "nothing with dnf, which has no such thing")
        if not bootstrap.packages:
            raise InvalidOption(
                "packages", "", "the packages or groups that dnf is to install, such as [bash, coreutils]"
            )
    return program


def bootstrap_image(paths: Paths, bootstrap: Bootstrap, tell: Callable[[str], None] = lambda _line: None) -> str:
    """Make the image, and let its name mean it; its digest. ``tell`` gets what the program says, line by line.

    Raises what check_bootstrap() does, BuildFailed where the program fails, KernelError.
    """
    program = check_bootstrap(bootstrap)
    work = os.path.join(paths.build_cache, "bootstrap")
    with exclusive_lock(paths.build_lock):
        try:
            remove_tree(work)
            os.makedirs(work, mode=0o700)
            root = os.path.join(work, "root")
            temporary = os.path.join(work, "tmp")
            os.mkdir(temporary)
            argv = _command(program, bootstrap, root)
            told = f"{os.path.basename(program)} of {bootstrap.suite}"
            env = _environment(bootstrap, temporary)
            run_isolated(argv, env=env, timeout=bootstrap.timeout, told=told, tell=tell)
            _clean(root)
            tell(f"storing {bootstrap.name}")
            return _commit(paths, bootstrap, root, f"{os.path.basename(program)} {bootstrap.suite}")
        except OSError as error:
            raise KernelError(f"making {bootstrap.name} in {work}", error) from error
        finally:
            with contextlib.suppress(OSError):
                remove_tree(work)


def _find(wanted: str) -> tuple[str, str]:
    """Name and path of the program; of the host's first where none is wanted."""
    for name in (wanted,) if wanted else _PROGRAMS:
        for directory in _PATH.split(":"):
            program = find_program(f"{directory}/{name}")
            if program:
                return name, program
    advice = f"install the package {wanted}" if wanted else "install one of them, on Debian and Ubuntu mmdebstrap"
    raise NotFound("program", wanted or "mmdebstrap, debootstrap or dnf", advice)


def _command(program: str, bootstrap: Bootstrap, root: str) -> list[str]:
    packages = sorted(set(bootstrap.packages))
    if os.path.basename(program) == "dnf":
        return [program, *_dnf_options(bootstrap, root), "install", "--", *packages]
    options = [f"--include={','.join(packages)}"] if packages else []
    if bootstrap.components:
        options.append(f"--components={','.join(bootstrap.components)}")
    if bootstrap.keyring:
        options.append(f"--keyring={bootstrap.keyring}")
    variant = bootstrap.variant or "minbase"
    if os.path.basename(program) == "debootstrap":
        # "important" is what it does where no variant is named.
        chosen = [] if variant == "important" else [f"--variant={variant}"]
        return [program, *chosen, *options, bootstrap.suite, root, *bootstrap.mirrors]
    return [
        program, "--mode=root", "--format=directory", f"--variant={variant}", *options, "--", bootstrap.suite, root,
        *bootstrap.mirrors,
    ]  # fmt: skip


def _dnf_options(bootstrap: Bootstrap, root: str) -> Iterator[str]:
    yield from ("-y", f"--installroot={root}", f"--releasever={bootstrap.suite}")
    yield from ("--setopt=install_weak_deps=False", "--setopt=tsflags=nodocs", "--setopt=keepcache=False")
    if bootstrap.mirrors:
        yield "--disablerepo=*"
    for number, mirror in enumerate(bootstrap.mirrors):
        yield from (f"--repofrompath=stowage{number},{mirror}", f"--enablerepo=stowage{number}")
        yield f"--setopt=stowage{number}.gpgcheck={int(bool(bootstrap.keyring))}"
        if bootstrap.keyring:
            yield f"--setopt=stowage{number}.gpgkey=file://{bootstrap.keyring}"


def _environment(bootstrap: Bootstrap, temporary: str) -> dict[str, str]:
    env = {
        "PATH": _PATH,
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "TMPDIR": temporary,
        "DEBIAN_FRONTEND": "noninteractive",
    }
    for name in (*_PROXIES, *map(str.upper, _PROXIES)):
        if name in os.environ:
            env[name] = os.environ[name]
    if bootstrap.epoch is not None:
        env["SOURCE_DATE_EPOCH"] = str(bootstrap.epoch)
    return env


def _clean(root: str) -> None:
    """Take away what tells when and where the image was made, or is of no use in it. Follows no link."""
    for path in _REMOVED:
        _remove(root, path)
    for path in _EMPTIED:
        _empty(root, path)
    keys = os.path.join(root, "etc/ssh")
    if _is_directory(root, "etc/ssh"):
        for name in os.listdir(keys):
            if name.startswith("ssh_host_"):
                os.unlink(os.path.join(keys, name))
    # machine-id(5): empty, so that each container that runs an init gets one of its own.
    machine_id = os.path.join(root, "etc/machine-id")
    if _is_directory(root, "etc") and os.path.lexists(machine_id):
        os.unlink(machine_id)
        os.close(os.open(machine_id, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444))


def _is_directory(root: str, path: str) -> bool:
    """Whether it is one, and no link leads there."""
    place = root
    for part in path.split("/"):
        place = os.path.join(place, part)
        try:
            if not stat.S_ISDIR(os.lstat(place).st_mode):
                return False
        except FileNotFoundError:
            return False
    return True


def _remove(root: str, path: str) -> None:
    parent = os.path.dirname(path)
    place = os.path.join(root, path)
    if (parent and not _is_directory(root, parent)) or not os.path.lexists(place):
        return
    if _is_directory(root, path):
        shutil.rmtree(place)
    else:
        os.unlink(place)


def _empty(root: str, path: str) -> None:
    """Remove all that is no directory; in those for what runs (dev, run, tmp), directories too."""
    if not _is_directory(root, path):
        return
    whole = path in ("dev", "run", "tmp", "var/tmp")
    for name in os.listdir(os.path.join(root, path)):
        inner = f"{path}/{name}"
        if not whole and _is_directory(root, inner):
            _empty(root, inner)
        else:
            _remove(root, inner)


def _commit(paths: Paths, bootstrap: Bootstrap, root: str, told: str) -> str:
    config = bootstrap.config
    record = (BOOTSTRAP_LABEL, json.dumps(bootstrap.inputs, sort_keys=True))
    epoch = int(time.time()) if bootstrap.epoch is None else bootstrap.epoch
    labelled = replace(config, labels=(*config.labels, record))
    return commit_image(paths, root, base="", name=bootstrap.name, told=told, config=labelled, epoch=epoch)
