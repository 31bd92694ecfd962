# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a step of a build in a container of our own runtime, with what containers have: namespaces, default capabilities,
the default seccomp filter and AppArmor profile, masked paths, a cgroup. Unlike a container's, its programs may gain
rights by set-user-ID files, as in docker's builds: package managers and sudo need that.

Promises: whatever is mounted for the step is seen in its mount namespace alone, and gone with it, as are its secrets,
which are on no disk; its changes are in a directory of their own until the caller has taken them; a step whose caller
is killed ends at once, and what it left is removed by the next build.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal

from .build_mounts import mount_targets, prepare_mounts
from .cgroup.manager import open_cgroups
from .cgroup.place import is_scope
from .errors import BuildFailed, EngineError, KernelError, RuntimeFailed
from .image.build.commit import stub_paths
from .image.build.view import View
from .image.layer.directories import lower_directories
from .linux import mount as m
from .linux.apparmor import find_default_profile, load_default_profile
from .linux.files import list_directory, write_atomic
from .linux.inherited import close_others, set_parent_death_signal
from .linux.mount import mount, mount_overlay
from .linux.namespaces import CLONE_NEWNS, unshare
from .linux.openat2 import Root
from .model.container import Container, Security
from .runtime.config.validate import validate_config
from .runtime.oci import Runtime
from .runtime.oci_create import Creation, run
from .runtime.users import resolve_user
from .shim.provisions import Provisions, observe_masked, observe_sysctls
from .shim.spec import ETC_FILES, oci_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

    from .cgroup.interface import Cgroups
    from .image.build.run_step import RunStep
    from .paths import Paths

    Tell = Callable[[str], None]

_NAME = "build"
_TAIL = 20
_LONGEST = 1 << 20  # of a line that is told as one


class StepRunner:
    """Runs the steps of one build, one after the other. The caller holds ``build_lock``."""

    def __init__(self, paths: Paths, tell: Tell) -> None:
        self._paths = paths
        self._tell = tell
        self._cgroups = open_cgroups(paths.instance)
        self._cgroups.load()
        self._work = os.path.join(paths.build_cache, "work")
        self._count = 0

    def clear(self) -> None:
        """Remove what a build that was killed has left."""
        for name in list_directory(self._work):
            self._remove(os.path.join(self._work, name))

    @contextlib.contextmanager
    def run(self, step: RunStep, told: str) -> Iterator[str]:
        """Run a step; the directory that has what it changed, until the block is left. Raises BuildFailed."""
        self._count += 1
        place = os.path.join(self._work, f"{os.getpid()}-{self._count}")
        cgroups_path = self._cgroups.container_path("", f"{_NAME}-{os.getpid()}-{self._count}")
        try:
            for name in ("upper", "overlay", "private"):
                os.makedirs(os.path.join(place, name), mode=0o700)
            os.chmod(os.path.join(place, "upper"), 0o755)
            # Written before there is one, so that there is none that nobody knows of.
            write_atomic(os.path.join(place, "cgroup"), cgroups_path.encode(), durable=False)
            view = View(step.lower)
            stubs = stub_paths(view, mount_targets(step))
            self._adopt_root(view, os.path.join(place, "upper"))
            self._execute(step, place, cgroups_path, told)
            for path in stubs:
                _remove_stub(os.path.join(os.fsencode(place), b"upper", path))
            yield os.path.join(place, "upper")
        except OSError as error:
            raise KernelError("running a step of a build", error) from error
        finally:
            self._remove(place)

    def _adopt_root(self, view: View, upper: str) -> None:
        """The root directory is as the layers have it: an overlay shows that of the upper directory."""
        found = view.find(b"")
        if found is not None:
            os.chown(upper, found.stat.st_uid, found.stat.st_gid)
            os.chmod(upper, found.stat.st_mode & 0o7777)

    def _execute(self, step: RunStep, place: str, cgroups_path: str, told: str) -> None:
        out, out_writer = os.pipe()
        answer, answer_writer = os.pipe()
        ourselves = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become_step(self._paths, self._cgroups, step, place, cgroups_path, ourselves, out_writer, answer_writer)
        os.close(out_writer)
        os.close(answer_writer)
        tail: list[str] = []
        try:
            with os.fdopen(out, "rb") as lines:
                for line in iter(lambda: lines.readline(_LONGEST), b""):
                    text = _without_secrets(line, step).decode(errors="backslashreplace").rstrip("\r\n")
                    tail = [*tail[1 - _TAIL :], text]
                    self._tell(text)
            with os.fdopen(answer, "rb") as file:
                content = file.read()
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            raise
        finally:
            os.waitpid(pid, 0)
        result: dict[str, Any] = json.loads(content) if content else {"error": "it was killed"}
        if "error" in result:
            raise RuntimeFailed(f"{told}: {_without_secrets(result['error'].encode(), step).decode()}")
        if result["code"]:
            raise BuildFailed(told, result["code"], "\n".join(tail))

    def _remove(self, place: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            with open(os.path.join(place, "cgroup"), encoding="utf-8") as file:
                path = file.read()
            if path:
                self._cgroups.kill(path)
                self._cgroups.destroy(path)
        shutil.rmtree(place, ignore_errors=True)


def _become_step(
    paths: Paths,
    cgroups: Cgroups,
    step: RunStep,
    place: str,
    cgroups_path: str,
    parent: int,
    out: int,
    answer: int,
) -> NoReturn:
    """Set up the root and run the step, in a fork of the build; never returns."""
    try:
        os.setsid()
        set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        null = os.open("/dev/null", os.O_RDONLY)
        for fd, target in ((null, 0), (out, 1), (out, 2)):
            os.dup2(fd, target)
        kept = os.dup(answer)
        close_others([0, 1, 2, kept])
        result: dict[str, Any]
        try:
            result = {"code": _run(paths, cgroups, step, place, cgroups_path)}
        except (EngineError, OSError) as error:
            result = {"error": str(error)}
        os.write(kept, json.dumps(result).encode()[:60000])
    finally:
        os._exit(1)


def _run(paths: Paths, cgroups: Cgroups, step: RunStep, place: str, cgroups_path: str) -> int:
    """The exit code of the step, as a shell counts."""
    private = os.path.join(place, "private")
    unshare(CLONE_NEWNS)
    mount("none", "/", flags=m.MS_REC | m.MS_PRIVATE)
    mount("stowage", private, "tmpfs", m.MS_NOSUID | m.MS_NODEV, "mode=0700")
    bundle, run_directory = os.path.join(private, "bundle"), os.path.join(private, "run")
    rootfs = os.path.join(bundle, "rootfs")
    for directory in (rootfs, run_directory, os.path.join(private, "state")):
        os.makedirs(directory, mode=0o700)
    _mount_root(paths, step, place, rootfs)
    profile = "" if step.privileged else find_default_profile()
    if profile:
        load_default_profile(paths.apparmor_profile, otherwise="RUN --security=insecure")
    spec = _spec(step, rootfs, run_directory, cgroups_path, profile)
    spec["mounts"] += prepare_mounts(paths, step, private)
    _fill_user(spec, step.user, rootfs)
    validate_config(spec)
    write_atomic(os.path.join(bundle, "config.json"), json.dumps(spec).encode(), durable=False)
    runtime = Runtime(os.path.join(private, "state"), paths.instance)
    runtime.private = True  # its states are in a mount namespace of ours
    runtime.given = frozenset({"systemd-cgroup"} if is_scope(cgroups_path) else ())
    creation = Creation()
    creation.detach = False
    return run(runtime, _NAME, bundle, creation)


def _mount_root(paths: Paths, step: RunStep, place: str, rootfs: str) -> None:
    upper, work = os.path.join(place, "upper"), os.path.join(place, "overlay")
    diff_ids = [os.path.basename(path).replace("-", ":", 1) for path in step.lower]
    lower = lower_directories(paths, diff_ids)
    if not lower:
        mount(upper, rootfs, flags=m.MS_BIND)
        return
    os.chdir(paths.layers)
    try:
        # The options of mount(2) are one page: names without their directory are short enough for 50 layers.
        names = [os.path.basename(path) for path in lower]
        mount_overlay(rootfs, lower=names, upper=upper, work=work, whole=True)
    except OSError as error:
        raise RuntimeFailed(f"mount the layers on {rootfs}: {error.strerror}") from error
    finally:
        os.chdir("/")


def _spec(step: RunStep, rootfs: str, run_directory: str, cgroups_path: str, profile: str) -> dict[str, Any]:
    """config.json: a container's, on the host's network unless it gets none."""
    container = Container(
        _NAME,
        image="",
        args=step.argv,
        env=tuple(step.env.items()),
        working_dir=step.working_dir,
        hostname=_NAME,
        shm_size=step.shm_size,
        security=Security(privileged=step.privileged, no_new_privileges=False),
    )
    own_network = step.network == "none"
    sysctls = observe_sysctls(own_ids=False) if own_network else None
    provisions = Provisions(masked=observe_masked(), sysctls=sysctls, apparmor=profile)
    spec = oci_spec(
        container, rootfs=rootfs, run_directory=run_directory, cgroups_path=cgroups_path, provisions=provisions
    )
    if not own_network:
        spaces = spec["linux"]["namespaces"]
        spec["linux"]["namespaces"] = [space for space in spaces if space["type"] != "network"]
    hosts = "" if own_network else _read_etc("hosts")
    hosts = hosts or "127.0.0.1\tlocalhost\n::1\tlocalhost\n"
    hosts += f"127.0.1.1\t{_NAME}\n"  # sudo, for one, looks for its own host
    hosts += "".join(f"{address}\t{name}\n" for name, address in step.extra_hosts)
    contents = {
        "hosts": hosts,
        "hostname": f"{_NAME}\n",
        "resolv.conf": "" if own_network else _read_etc("resolv.conf"),
    }
    for name in ETC_FILES:
        write_atomic(os.path.join(run_directory, name), contents[name].encode(), mode=0o644, durable=False)
    return spec


def _read_etc(name: str) -> str:
    try:
        with open(f"/etc/{name}", encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _fill_user(spec: dict[str, Any], text: str, rootfs: str) -> None:
    root = Root(rootfs)
    root.attach()
    try:
        user = resolve_user(text or "0", root)
    finally:
        root.close()
    process = spec["process"]
    process["user"] = {"uid": user.uid, "gid": user.gid}
    if user.groups:
        process["user"]["additionalGids"] = user.groups
    if not any(item.startswith("HOME=") for item in process["env"]):
        process["env"].append(f"HOME={user.home}")


def _remove_stub(path: bytes) -> None:
    """What was made for something to be mounted on goes, unless the step made something of it."""
    with contextlib.suppress(OSError):
        if os.path.islink(path) or not os.path.exists(path):
            return
        if os.path.isdir(path):
            os.rmdir(path)
        elif os.path.getsize(path) == 0:
            os.unlink(path)


def _without_secrets(content: bytes, step: RunStep) -> bytes:
    """A line of output, with no secret in it; one of several lines is hidden line by line."""
    for secret in step.secrets:
        for line in secret.splitlines():
            if line.strip():
                content = content.replace(line.strip(), b"********")
    return content
