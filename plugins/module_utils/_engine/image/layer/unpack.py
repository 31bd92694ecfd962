# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unpack a layer into a directory that serves as a lower directory of an overlay.

Promises: the directory holds what the archive says (image-spec 1.1, layer.md), with whiteouts and opaque directories
as the kernel's overlayfs spells them; it depends on the layer's bytes alone, so images share it; nothing outside of
it is ever touched, whatever the archive says; it has the digest that was asked for, or is not there.

A process of its own does it, with the directory as its root: what an archive leads it to is in there. Of the archive it
has seen its first bytes by then, which tell what it is compressed with.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import resource
import shutil
import signal

from ...errors import DigestMismatch, InvalidImage, KernelError, Unsupported
from ...linux.process import in_user_namespace
from ...linux.worker import Worker, seal_imports
from .budget import DEFAULT_BUDGET, DEFAULT_RULES, Account, Budget, Rules
from .compression import LayerStream
from .members import Unpacker
from .tar import TarReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from .compression import Readable

PARTIAL = ".partial"


def unpack_layer(
    file: Readable, target: str, diff_id: str, *, budget: Budget = DEFAULT_BUDGET, rules: Rules = DEFAULT_RULES
) -> None:
    """Unpack a layer, compressed or not, into ``target``.partial and check it; whoever calls renames it into place.

    Raises DigestMismatch where the uncompressed content is not ``diff_id``, InvalidImage where it is malformed or
    hostile, KernelError where the disk or kernel refuses, Unsupported where this process may not do it;
    ``target``.partial is gone then.
    """
    unpacker = start_unpacking(file, target, diff_id, budget=budget, rules=rules)
    try:
        unpacker.result()
    except BaseException:
        remove_tree(target + PARTIAL)
        raise


def start_unpacking(
    file: Readable,
    target: str,
    diff_id: str,
    *,
    budget: Budget = DEFAULT_BUDGET,
    rules: Rules = DEFAULT_RULES,
    close: int = -1,
) -> Worker:
    """The worker that does it; it closes its copy of ``close``. Where it fails, ``target``.partial is to be removed."""
    partial = target + PARTIAL
    try:
        remove_tree(partial)
        os.makedirs(partial, mode=0o755)
        os.chmod(partial, 0o755)
    except OSError as error:
        raise KernelError(f"unpacking the layer {diff_id}", error) from error

    def work() -> None:
        if close >= 0:
            os.close(close)
        _unpack(file, partial, diff_id, budget, rules)

    return Worker(work)


def remove_tree(path: str) -> None:
    """Remove ``path`` without following a symbolic link (rmtree works through directory descriptors)."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def _unpack(file: Readable, partial: str, diff_id: str, budget: Budget, rules: Rules) -> None:
    from .read_ahead import read_ahead  # threading, which most runs do without

    try:
        with _unnamed_file(os.path.dirname(partial) or ".") as late:
            windows = budget.spent.windows if budget.spent else None
            stream = LayerStream(file, limit=budget.size, algorithm=diff_id.partition(":")[0], windows=windows)
            nodes = not in_user_namespace()
            _enter(partial)
            _limit_time(budget.seconds)
            stream.through(read_ahead)  # takes more cores
            Unpacker(Account(budget, diff_id), rules, late, nodes=nodes).unpack(TarReader(stream.read))
            found = stream.digest()
            while file.read(1 << 16):  # whoever writes it is to come to its end
                pass
        if found != diff_id:
            raise DigestMismatch("layer", diff_id, found)
    except InvalidImage as error:
        raise InvalidImage(f"layer {diff_id}: {error}") from error
    except OSError as error:
        raise KernelError(f"unpacking the layer {diff_id}", error) from error


def _limit_time(seconds: int) -> None:
    """Raise InvalidImage in this process once it has taken so much of a processor (setrlimit(2), RLIMIT_CPU)."""

    def stop(*_signal: object) -> None:
        raise InvalidImage(f"unpacking it takes more than {seconds} s of a processor")

    signal.signal(signal.SIGXCPU, stop)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _enter(directory: str) -> None:
    """Have ``directory`` as root, with nothing of what is outside at hand but what is open."""
    os.chdir(directory)
    wanted = os.stat(".")
    try:
        os.chroot(".")
    except PermissionError as error:
        raise Unsupported(
            "unpacking a layer takes a root directory of its own, and this process may not change its (it lacks "
            "CAP_SYS_CHROOT): run it as root, or as root of a user namespace"
        ) from error
    if not os.path.samestat(os.stat("/"), wanted):
        # All names are taken from the root from here on: whatever made this so, it would be the host's own.
        raise Unsupported(f"{directory} did not become the root of the process that unpacks into it")
    seal_imports()
    os.umask(0)
    # Inherited from where layers are kept, they would change the mode of everything in the layer (acl(5)).
    for key in ("system.posix_acl_default", "system.posix_acl_access"):
        with contextlib.suppress(OSError):  # ENODATA: the usual case
            os.removexattr("/", key)


def _unnamed_file(directory: str) -> BinaryIO:
    """A file on the layers' file system that ends with its descriptor (open(2), O_TMPFILE); else in memory."""
    try:
        return os.fdopen(os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600), "w+b")
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
        return io.BytesIO()
