# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an init does, as a list: every operation says what it does and does it; a failure is told in its words."""

from __future__ import annotations

import os

from ...errors import RuntimeFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Operation:
    """One step. ``str()`` says what it does to which path; ``execute()`` does it, or raises OSError."""

    def __str__(self) -> str:
        raise NotImplementedError

    def execute(self) -> None:
        raise NotImplementedError


class OperationFailed(RuntimeFailed):
    """An operation met an error of the kernel."""

    def __init__(self, operation: object, cause: OSError) -> None:
        self.errno = cause.errno
        # A number where it was a descriptor that was executed.
        path = "" if isinstance(cause.filename, int) else os.fsdecode(cause.filename or "")
        told = str(operation)
        where = f" ({path})" if path and not path.startswith("/proc/self/fd/") and path not in told else ""
        super().__init__(f"{told}{where}: {reason(cause.strerror or str(cause))}")


def reason(text: str) -> str:
    """The kernel's words in lower case, as Go's programs tell them, and as those that start runtimes look for them."""
    return text[:1].lower() + text[1:]


def execute_all(operations: Iterable[Operation], report: Callable[[str], None] | None = None) -> None:
    """Execute in order, and ``report`` each before. Raises OperationFailed at the first that fails; what it and its
    forerunners made is in namespaces that end with this process."""
    for operation in operations:
        if report:
            report(str(operation))
        try:
            operation.execute()
        except OSError as error:
            raise OperationFailed(operation, error) from error
