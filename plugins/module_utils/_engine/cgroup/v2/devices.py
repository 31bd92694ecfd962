# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices on v2 (cgroup-v2.rst, "Device controller"): no files but a BPF program on the cgroup, asked at each open(2)
and mknod(2) of a device by what is in the cgroup or below.

It stays attached when we are gone and goes with the cgroup. Programs of the cgroups above are asked too, so a container
can never have more than they allow. Errors: InvalidOption, Unsupported (an old kernel, a lacking capability),
KernelError.
"""

from __future__ import annotations

import errno
import os
import resource

from ...errors import InvalidOption, KernelError, Unsupported
from ...linux import bpf
from ..devices import ALL_ACCESS, ANY, parse_devices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from ..devices import DeviceList

# struct bpf_cgroup_dev_ctx: the access in the upper half of a word and the type in the lower; major; minor.
_OFFSET_ACCESS_TYPE, _OFFSET_MAJOR, _OFFSET_MINOR = 0, 4, 8
_TYPES = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_*
# The result and the context are where the kernel has them; the others are ours.
_RESULT, _CONTEXT, _TYPE, _ACCESS, _MAJOR, _MINOR = range(6)

_NAME = "stowage_devices"


def compile_devices(devices: DeviceList) -> bytes:
    """The program that returns 1 for what ``devices`` allows and 0, which is EPERM, for all else. Pure."""
    code = [
        bpf.load_word(_TYPE, _CONTEXT, _OFFSET_ACCESS_TYPE),
        bpf.move_register(_ACCESS, _TYPE),
        bpf.bitwise_and(_TYPE, 0xFFFF),
        bpf.shift_right(_ACCESS, 16),
        bpf.load_word(_MAJOR, _CONTEXT, _OFFSET_MAJOR),
        bpf.load_word(_MINOR, _CONTEXT, _OFFSET_MINOR),
    ]
    for (kind, major, minor), access in devices.exceptions.items():
        if devices.allows:  # any of the access that is denied
            found = [bpf.jump_any_bit(_ACCESS, access, 1), bpf.jump(2)]
        elif access != ALL_ACCESS:  # any of the access that is not allowed leads on to the next
            found = [bpf.jump_any_bit(_ACCESS, ALL_ACCESS & ~access, 2)]
        else:
            found = []
        found += [bpf.move(_RESULT, int(not devices.allows)), bpf.end()]
        for register, value in ((_MINOR, minor), (_MAJOR, major), (_TYPE, _TYPES[kind])):
            if value != ANY:
                found.insert(0, bpf.jump_not_equal(register, value, len(found)))
        code += found
    return b"".join([*code, bpf.move(_RESULT, int(devices.allows)), bpf.end()])


def limit_devices(directory: str, rules: Iterable[Mapping[str, Any]]) -> None:
    """Have the cgroup ``directory`` obey the OCI device rules, and no others of ours, from now on.

    The new program comes before the old one goes, so there is no moment without. Where all is allowed there is none.
    """
    devices = parse_devices(rules)
    try:
        cgroup = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError("limiting the devices of a cgroup", error) from error
    try:
        if devices.is_open:
            _detach(cgroup, _query(cgroup))
            return
        program = _load(compile_devices(devices))
        try:
            old = bpf.query_programs(cgroup, bpf.BPF_CGROUP_DEVICE)
            bpf.attach_program(cgroup, program, bpf.BPF_CGROUP_DEVICE)
            _detach(cgroup, old)
        finally:
            os.close(program)
    except OSError as error:
        _refuse(error, directory)
    finally:
        os.close(cgroup)


def _query(cgroup: int) -> list[int]:
    """The programs to take away; none where this process or kernel could not have attached one."""
    try:
        return bpf.query_programs(cgroup, bpf.BPF_CGROUP_DEVICE)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS, errno.EINVAL):
            return []
        raise


def _detach(cgroup: int, program_ids: Iterable[int]) -> None:
    for number in program_ids:
        program = bpf.open_program(number)
        try:
            bpf.detach_program(cgroup, program, bpf.BPF_CGROUP_DEVICE)
        finally:
            os.close(program)


def _load(code: bytes) -> int:
    try:
        return bpf.load_program(bpf.BPF_PROG_TYPE_CGROUP_DEVICE, code, _NAME)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
    # Before Linux 5.11 programs count as locked memory of the user, of which 64 KiB are few containers.
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, OSError) as error:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM)) from error
    try:
        return bpf.load_program(bpf.BPF_PROG_TYPE_CGROUP_DEVICE, code, _NAME)
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, hard))


def _refuse(error: OSError, directory: str) -> None:
    """Raise what ``error`` means, unless no device can be opened here anyway."""
    what = f"limiting the devices of {directory}"
    if error.errno == errno.EPERM:
        # Nodes made in a user namespace cannot be opened (user_namespaces(7)); those of the host keep their owner.
        with open("/proc/self/uid_map", encoding="ascii") as lines:
            if lines.read().split() != ["0", "0", "4294967295"]:
                return
        raise Unsupported(
            f"{what} takes a BPF program, which this process may not load or attach: it needs CAP_BPF and "
            "CAP_NET_ADMIN, or CAP_SYS_ADMIN, and that no cgroup above has a program that lets no other beside it "
            "(bpftool cgroup tree)"
        ) from error
    if error.errno in (errno.ENOSYS, errno.EINVAL):
        raise Unsupported(
            f"{what} takes a BPF program, which this kernel does not know: it needs Linux 4.15 with CONFIG_BPF_SYSCALL "
            "and CONFIG_CGROUP_BPF; without it only privileged containers can run on cgroup v2"
        ) from error
    if error.errno == errno.E2BIG:
        raise InvalidOption("linux.resources.devices", "so many rules", "fewer: the kernel takes 4096 instructions")
    raise KernelError(what, error) from error
