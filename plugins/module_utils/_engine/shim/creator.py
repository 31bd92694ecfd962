# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The creator: a short-lived child of the monitor that mounts a container's root and creates the container.

It works in a mount namespace of its own, which the init gets a copy of: the overlay is never seen on the host, and
goes when the init and all that is in its namespace are gone. The init is born as the monitor's child, not its own. A
monitor that is to become another program anyway creates its container itself (solo.py).
"""

from __future__ import annotations

import _signal as signal
import os

from ..errors import EngineError, RuntimeFailed
from ..linux import mount as m
from ..linux.files import write_json
from ..linux.inherited import set_parent_death_signal
from ..linux.lean import suppress
from ..linux.mount import mount, mount_overlay
from ..linux.namespaces import CLONE_NEWNS, unshare
from ..linux.openat2 import Root
from ..linux.process import start_time
from ..runtime.channel import Channel
from ..runtime.config.validate import load_config, read_config
from ..runtime.create import CreateOptions, Membership, create_container
from ..runtime.users import resolve_groups, resolve_user
from .external import create_external

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn


def run_creator(
    request: dict[str, Any],
    launcher: tuple[int, int],
    monitor: tuple[int, int],
    init: tuple[tuple[int, int], tuple[int, int]],
    stdio: Sequence[int],
) -> NoReturn:
    """Create a container as create() does, and end. ``monitor`` is its pid, and a pipe that is told the answer."""
    answer = b"-"
    pid, teller = monitor
    try:
        # We end when the monitor does; then the init, which hears nothing more, ends too. One that ended before this
        # call is no longer our parent.
        set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != pid:
            os._exit(1)
        answer = create(request, launcher, pid, init, stdio, as_sibling=True)
    finally:
        os.write(teller, answer)
        os._exit(0)


def create(
    request: dict[str, Any],
    launcher: tuple[int, int],
    monitor: int,
    init: tuple[tuple[int, int], tuple[int, int]],
    stdio: Sequence[int],
    *,
    as_sibling: bool,
) -> bytes:
    """Create the container that the request asks for, as ``monitor``'s child.

    ``launcher`` are the pipes from and to whoever wants the container: the cgroup is heard of there, and what came of
    it told. ``init`` are the pipes from and to the init, which the monitor has too. Returns the answer for the monitor:
    pid and start time, or a dash. We are left in a mount namespace of our own.
    """
    answer, name = b"-", request["name"]
    channel = Channel(*launcher)
    try:
        # The monitor writes to it, perhaps only when whoever wants the container has seen that all is done.
        os.close(os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))
        init_pid, started = _create(request, channel, monitor, init, stdio, as_sibling=as_sibling)
        answer = b"%d %d" % (init_pid, started)
        channel.tell({"name": name, "pid": init_pid, "started": started})
    except BrokenPipeError:
        pass  # whoever wanted the container is gone
    except EngineError as error:
        _tell_failure(channel, name, str(error))
    except Exception as error:
        _tell_failure(channel, name, f"{type(error).__name__}: {error}")
    return answer


def _tell_failure(channel: Channel, name: str, why: str) -> None:
    with suppress(BrokenPipeError):
        channel.tell({"name": name, "error": why})


def _create(
    request: dict[str, Any],
    launcher: Channel,
    monitor: int,
    init: tuple[tuple[int, int], tuple[int, int]],
    stdio: Sequence[int],
    *,
    as_sibling: bool,
) -> tuple[int, int]:
    bundle = request["bundle"]
    unshare(CLONE_NEWNS)
    mount("none", "/", flags=m.MS_REC | m.MS_SLAVE)
    if request["uid_map"]:
        from .idmapped import mount_idmapped_root  # few containers have a user namespace

        mount_idmapped_root(request)
    else:
        _mount_root(bundle, request["layers"])
    if request["joined"]:
        from .joined import mount_joined  # few containers join others

        mount_joined(request)
    # It was valid when it was written (bundle.py), save for what it joins, which is there only now.
    spec = read_config(bundle) if request["joined"] else load_config(bundle)
    _fill_user(spec, request["user"], request["groups"], bundle)
    answer = launcher.hear()
    if answer is None:
        raise RuntimeFailed("whoever creates the container has gone")
    if "error" in answer:
        raise RuntimeFailed(answer["error"])
    up, down = init
    if request["runtime"]:
        directory = "" if answer["task_files"] else answer["directory"]
        created = create_external(request, spec, stdio, creator=(monitor, start_time(monitor)), directory=directory)
    else:
        options = CreateOptions()
        options.stdio = stdio
        options.die_with_parent = True
        options.as_sibling = as_sibling
        options.membership = Membership(answer["task_files"], answer["directory"])
        options.channels = Channel(up[0], down[1]), Channel(down[0], up[1])
        options.creator = (monitor, start_time(monitor))
        options.seccomp = bytes.fromhex(answer["seccomp"])
        options.tell_birth = lambda pid: launcher.tell({"name": request["name"], "born": pid})
        created = create_container(request["state_root"], request["name"], bundle, spec, options)
    return created.pid, created.state.started


def _mount_root(bundle: str, layers: list[str]) -> None:
    """The overlay on ``rootfs``, or a plain bind of ``upper`` where there are no layers."""
    rootfs, upper, work = (os.path.join(bundle, name) for name in ("rootfs", "upper", "work"))
    try:
        if not layers:
            mount(upper, rootfs, flags=m.MS_BIND)
            return
        lower = list(reversed(layers))
        parents = {os.path.dirname(layer) for layer in lower}
        if len(parents) == 1:
            # The options of mount(2) are one page: names without their directory are short enough for 50 layers.
            os.chdir(parents.pop())
            lower = [os.path.basename(layer) for layer in lower]
        mount_overlay(rootfs, lower=lower, upper=upper, work=work)
    except OSError as error:
        raise RuntimeFailed(f"mount the layers on {rootfs}: {error.strerror}") from error
    finally:
        os.chdir("/")


def _fill_user(spec: dict[str, Any], text: str, groups: Sequence[str], bundle: str) -> None:
    """Put the numbers of ``user`` and ``groups`` into the spec, and into config.json, where others read them."""
    root = Root(spec["root"]["path"])
    root.attach()
    try:
        user = resolve_user(text or "0", root)
        further = resolve_groups(groups, root)
    finally:
        root.close()
    wanted: dict[str, Any] = {"uid": user.uid, "gid": user.gid}
    if user.groups or further:
        wanted["additionalGids"] = [*dict.fromkeys([*user.groups, *further])]
    process = spec["process"]
    if not any(item.startswith("HOME=") for item in process["env"]):
        process["env"].append(f"HOME={user.home}")
    if process["user"] != wanted:
        process["user"] = wanted
        write_json(os.path.join(bundle, "config.json"), spec, durable=False)
