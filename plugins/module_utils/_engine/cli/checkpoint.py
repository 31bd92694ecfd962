# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``stowage-runtime checkpoint`` and ``restore``."""

from __future__ import annotations

import os

from ..errors import InvalidOption
from ..linux.criu import CGROUP_MODES
from ..runtime.checkpoint import CriuOptions, checkpoint_container, restore_container
from ..runtime.oci_create import Creation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..runtime.oci import Runtime
    from .oci_options import Words

_FLAGS = (
    *("tcp-established", "ext-unix-sk", "shell-job", "file-locks", "auto-dedup", "lazy-pages", "leave-running"),
    *("link-remap", "tcp-skip-in-flight"),
)


def checkpoint(runtime: Runtime, words: Words) -> int:
    identity = words.identity()
    options = _options(words)
    options.parent = words.text("parent-path")
    options.pre_dump = words.flag("pre-dump")
    options.status_fd = words.number("status-fd") if "status-fd" in words.options else -1
    if options.parent and (
        os.path.isabs(options.parent) or not os.path.isdir(os.path.join(options.images, options.parent))
    ):
        raise InvalidOption("checkpoint --parent-path", options.parent, "a directory, relative to --image-path")
    server = words.text("page-server")
    if server:
        address, colon, port = server.rpartition(":")
        if not (colon and address and port.isascii() and port.isdigit()):
            raise InvalidOption("checkpoint --page-server", server, "ADDRESS:PORT")
        options.page_server = address, int(port)
    checkpoint_container(runtime, identity, options)
    return 0


def restore(runtime: Runtime, words: Words) -> int:
    identity = words.identity()
    options = _options(words)
    options.lsm = words.text("lsm-profile"), words.text("lsm-mount-context")
    creation = Creation()
    creation.pid_file = words.text("pid-file")
    creation.console_socket = words.text("console-socket")
    creation.no_pivot = words.flag("no-pivot")
    creation.detach = words.flag("detach")
    creation.subreaper = not words.flag("no-subreaper")
    return restore_container(runtime, identity, words.text("bundle", "."), creation, options)


def _options(words: Words) -> CriuOptions:
    options = CriuOptions()
    options.images = os.path.abspath(words.text("image-path", "checkpoint"))
    options.work = os.path.abspath(words.text("work-path") or options.images)
    options.flags = {name.replace("-", "_"): 1 for name in _FLAGS if words.flag(name)}
    mode = words.text("manage-cgroups-mode")
    if mode not in CGROUP_MODES:
        raise InvalidOption(f"{words.where} --manage-cgroups-mode", mode, "soft, full, strict or ignore")
    options.cgroup_mode = CGROUP_MODES[mode]
    for name in words.list("empty-ns"):
        if name != "network":
            raise InvalidOption(f"{words.where} --empty-ns", name, "network")
    return options
