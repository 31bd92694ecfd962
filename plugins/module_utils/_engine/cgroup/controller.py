# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller: which limits it holds, how they are read from its files and written to them."""

from __future__ import annotations

import errno
import os

from ..errors import KernelError, Unsupported
from ..linux.cgroupfs import read_value, write_value
from ..model.quantities import UNLIMITED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..model.cgroup import Limits


class Controller:
    """``fields`` of Limits are this controller's. ``observe`` and ``apply`` take a cgroup's directory.

    ``observe`` knows every field: what is not there limits nothing. ``apply`` sets the fields that are not None.
    """

    def __init__(
        self,
        name: str,
        fields: tuple[str, ...],
        observe: Callable[[str], dict[str, int | str]],
        apply: Callable[[str, Limits], None],
    ) -> None:
        self.name = name
        self.fields = fields
        self.observe = observe
        self.apply = apply


def is_limited(value: int | str | None) -> bool:
    """Whether a limit is asked for: None leaves it alone, UNLIMITED and an empty list take it away."""
    return value is not None and value not in (UNLIMITED, "")


def check_controllers(wanted: Mapping[str, int | str], controllers: Iterable[Controller], looked_in: str) -> None:
    """Raise Unsupported where a limit is wanted that none of the host's ``controllers`` has."""
    held = {field for controller in controllers for field in controller.fields}
    for field, value in wanted.items():
        if is_limited(value) and field not in held:
            name = _controller_of(field)
            raise Unsupported(
                f"{field}: this host has no {name!r} cgroup controller ({looked_in}); enable it (kernel configuration, "
                f"boot options cgroup_disable= and cgroup_no_v1=, mounts), or leave {field} out"
            )


def apply_limits(controller: Controller, directory: str, limits: Limits) -> None:
    """Write the limits of one controller that are not None, where the kernel holds others.

    So what takes away a limit that is not there succeeds without the file, and a second call writes nothing.
    """
    wanted = {field: value for field, value in limits.wanted().items() if field in controller.fields}
    if wanted:
        observed = controller.observe(directory)
        if any(observed[field] != value for field, value in wanted.items()):
            controller.apply(directory, limits)


def _controller_of(field: str) -> str:
    return next(name for name in ("memory", "cpuset", "cpu", "pids") if field.startswith(name))


def read_number(path: str) -> int | None:
    """A number, UNLIMITED for ``max``; None where there is no such file."""
    text = read_value(path)
    if text is None:
        return None
    return UNLIMITED if text == "max" else int(text)


def write_limit(path: str, value: str, *, because: Mapping[int, str] | None = None) -> None:
    """Set a limit. Unsupported where there is no such file; KernelError with ``because`` of its errno if refused."""
    try:
        write_value(path, value)
    except FileNotFoundError as error:
        directory, file = os.path.split(path)
        raise Unsupported(f"this kernel has no {file} in {directory}; leave that limit out") from error
    except OSError as error:
        number = error.errno or 0
        why = (because or {}).get(number, "") or _BECAUSE.get(number, "")
        cause = OSError(number, os.strerror(number) + (f": {why}" if why else ""), path)
        raise KernelError(f"setting a cgroup limit to {value!r}", cause) from error


def write_setting(
    option: str, directory: str, file: str, value: object, *, because: Mapping[int, str] | None = None
) -> None:
    """Write what ``option`` of config.json (its JSON path) asks for to a file of the cgroup ``directory``.

    Raises Unsupported where there is no such file, KernelError with ``because`` of its errno where it is refused.
    """
    path = f"{directory}/{file}"
    try:
        write_value(path, str(value))
    except FileNotFoundError as error:
        raise Unsupported(f"{option}: this kernel has no {file} ({path}); leave it out") from error
    except OSError as error:
        number = error.errno or 0
        why = (because or {}).get(number, "") or _BECAUSE.get(number, "")
        cause = OSError(number, os.strerror(number) + (f": {why}" if why else ""), path)
        raise KernelError(f"{option}: writing {value!r}", cause) from error


_BECAUSE = {
    errno.EROFS: "the cgroup file system is mounted read-only here",
    errno.EACCES: "a parent cgroup does not have what is asked for",
}
