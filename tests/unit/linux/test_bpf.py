# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""eBPF instructions byte by byte, and the numbers of the system call."""

from __future__ import annotations

import sys

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux import bpf
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.syscalls import syscall_numbers


def test_the_numbers_are_those_of_the_tables() -> None:
    assert {name: syscall_numbers(name)["bpf"] for name in bpf.SYS_BPF} == bpf.SYS_BPF


@pytest.mark.skipif(sys.byteorder == "big", reason="the expected bytes are a little-endian machine's")
@pytest.mark.parametrize(
    ("written", "expected"),
    [  # code, registers (source and target, a half each), offset, immediate
        (bpf.load_word(2, 1, 0), "61 12 00 00 00 00 00 00"),
        (bpf.load_word(5, 1, 8), "61 15 08 00 00 00 00 00"),
        (bpf.move_register(3, 2), "bf 23 00 00 00 00 00 00"),
        (bpf.move(0, 1), "b7 00 00 00 01 00 00 00"),
        (bpf.bitwise_and(2, 0xFFFF), "57 02 00 00 ff ff 00 00"),
        (bpf.shift_right(3, 16), "77 03 00 00 10 00 00 00"),
        (bpf.jump(2), "05 00 02 00 00 00 00 00"),
        (bpf.jump_not_equal(4, 136, 3), "55 04 03 00 88 00 00 00"),
        (bpf.jump_not_equal(4, 0xFFFFFFFF, 3), "55 04 03 00 ff ff ff ff"),
        (bpf.jump_any_bit(3, 5, 1), "45 03 01 00 05 00 00 00"),
        (bpf.end(), "95 00 00 00 00 00 00 00"),
    ],
)
def test_instructions(written: bytes, expected: str) -> None:
    assert written.hex(" ") == expected


def test_an_architecture_without_a_number_has_no_bpf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf, "SYS_BPF", {})
    with pytest.raises(OSError, match="not implemented"):
        bpf.query_programs(0, bpf.BPF_CGROUP_DEVICE)
