# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process of these tests has to itself, as others run beside it: its mounts, and its standard input."""

from __future__ import annotations

import os

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount import MS_PRIVATE, MS_REC, mount
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.namespaces import CLONE_NEWNS, unshare


@pytest.fixture(scope="session", autouse=True)
def _own_mounts():
    """Tests compare the mounts of their host before and after: those of the process beside are none of it."""
    if os.geteuid() == 0:
        unshare(CLONE_NEWNS)
        mount("", "/", flags=MS_REC | MS_PRIVATE)


@pytest.fixture(autouse=True)
def _standard_input_stays_as_it_was():
    """Standard input is shared with all programs that inherit it, and one that does not wait on it breaks others."""
    yield
    blocking = os.get_blocking(0)
    os.set_blocking(0, True)
    assert blocking, "a program left standard input non-blocking (O_NONBLOCK): give it subprocess.DEVNULL"
