# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers: what they return, raise, and leave when they end."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    DigestMismatch,
    InvalidOption,
    KernelError,
    RegistryError,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.worker import Worker, run_workers


def failing(error: BaseException) -> Callable[[], Any]:
    def act() -> None:
        raise error

    return act


def test_a_value_comes_back() -> None:
    assert Worker(lambda: {"a": [1, "ü" * 200_000]}).result() == {"a": [1, "ü" * 200_000]}


@pytest.mark.parametrize(
    "error",
    [DigestMismatch("blob", "sha256:a", "sha256:b"), InvalidOption("o", 1, "two"), RegistryError("no", 404)],
)
def test_errors_come_back_as_they_were(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        Worker(failing(error)).result()
    assert str(raised.value) == str(error) and vars(raised.value) == vars(error)


def test_a_failed_call_is_a_kernel_error_and_a_fault_says_where() -> None:
    with pytest.raises(KernelError, match="/x No space left") as raised:
        Worker(failing(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x"))).result()
    assert raised.value.errno == errno.ENOSPC
    with pytest.raises(RuntimeError, match=r"ZeroDivisionError: .*test_worker\.py:\d+"):
        Worker(lambda: 1 // 0).result()


def test_a_worker_that_is_killed_is_told() -> None:
    with pytest.raises(KernelError, match="signal 9"):
        Worker(lambda: os.kill(os.getpid(), signal.SIGKILL)).result()


def test_killing_waits_for_what_the_worker_started() -> None:
    reader, writer = os.pipe()

    def act() -> None:
        def inner() -> None:
            os.write(writer, str(os.getpid()).encode())
            time.sleep(60)

        Worker(inner).result()

    worker = Worker(act)
    pid = int(os.read(reader, 20))
    worker.kill()
    os.close(reader)
    os.close(writer)
    # Nobody is left to wait for it; it may be a zombie of whoever adopts orphans here.
    assert not os.path.exists(f"/proc/{pid}/exe") or not os.readlink(f"/proc/{pid}/exe")


def test_the_first_error_ends_the_others() -> None:
    started = time.monotonic()
    with pytest.raises(RegistryError, match="first"):
        run_workers([lambda: time.sleep(60), failing(RegistryError("first")), lambda: time.sleep(60)], 2)
    assert time.monotonic() - started < 10


def test_all_work_is_done_so_many_at_a_time(tmp_path: Any) -> None:
    def work(number: int) -> Callable[[], None]:
        def act() -> None:
            (tmp_path / f"running{number}").touch()
            assert len(list(tmp_path.glob("running*"))) <= 3
            time.sleep(0.02)
            (tmp_path / f"running{number}").rename(tmp_path / f"done{number}")

        return act

    run_workers(map(work, range(12)), 3)
    assert len(list(tmp_path.glob("done*"))) == 12
