# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which runtime is tested, its boxes, and what came out of each item.

``--oci-runtime native|runc|crun`` chooses; ``--record FILE`` writes the outcomes as JSON, for the page. Every test
names its item of the specification: ``@item("config/mounts/options/ro")``; ``{name}`` is filled from its parameters.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from .box import Box, make_rootfs
from .programs import NAMES, find_program, hide_unified

OUTCOMES = pytest.StashKey[dict[str, dict[str, str]]]()
BOX = pytest.StashKey[Box]()


def pytest_addoption(parser):
    group = parser.getgroup("conformance")
    group.addoption("--oci-runtime", choices=NAMES, default="native", help="the runtime to test")
    group.addoption("--record", default="", help="write the outcomes to this file, as JSON")


def pytest_configure(config):
    config.addinivalue_line("markers", "item(name): the item of the specification that a test is about")
    config.stash[OUTCOMES] = {}
    if config.getoption("--oci-runtime", "native") == "crun" and os.geteuid() == 0:
        hide_unified()


def item_of(test):
    """The item's name, with the test's parameters filled in."""
    name = test.get_closest_marker("item").args[0]
    return name.format(**test.callspec.params) if hasattr(test, "callspec") else name


def pytest_collection_modifyitems(items):
    seen = {}
    for test in items:
        if "conformance" not in test.path.parts:
            continue
        if test.get_closest_marker("item") is None:
            raise pytest.UsageError(f"{test.nodeid}: names no item of the specification")
        other = seen.setdefault(item_of(test), test)
        if other is not test:
            raise pytest.UsageError(f"{test.nodeid} and {other.nodeid} are of the same item")
        if os.geteuid() != 0:
            test.add_marker(pytest.mark.skip(reason="needs root: namespaces, mounts and cgroups are made"))


@pytest.fixture(scope="session")
def ground():
    """A directory on a tmpfs where there is one, that users of other ids can pass through."""
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="stowage-test-conformance-", dir=parent))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def program(request, ground):
    directory = ground / "program"
    directory.mkdir()
    return find_program(request.config.getoption("--oci-runtime"), directory)


@pytest.fixture(scope="session")
def template(ground):
    make_rootfs(ground / "template")
    return ground / "template"


@pytest.fixture
def boxes(request, program, ground, template):
    """Makes boxes, for tests that need several; afterwards nothing is left of them."""
    made = []

    def make():
        directory = Path(tempfile.mkdtemp(prefix="box-", dir=ground))
        directory.chmod(0o755)
        made.append(Box(program, directory, template))
        request.node.stash[BOX] = made[0]
        return made[-1]

    yield make
    left = [path for box in made for path in box.clean()]
    if program.name == "native":  # of peers it is an item of its own, runtime/delete
        assert left == [], "cgroups or mounts are left"


@pytest.fixture
def box(boxes):
    return boxes()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    outcomes = item.config.stash[OUTCOMES]
    known = outcomes.setdefault(item_of(item), {"test": f"{item.path.name}::{item.originalname}", "outcome": "passed"})
    if report.outcome != "passed":
        known["outcome"] = report.outcome
        known["note"] = report.longrepr[2] if isinstance(report.longrepr, tuple) else reason_of(report)
    elif item.stash.get(BOX, None) and item.stash[BOX].note:
        known["note"] = item.stash[BOX].note
    return report


def reason_of(report):
    """The line that pytest would put into its summary."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return crash.message.splitlines()[0][:200] if crash and crash.message else str(report.longrepr)[:200]


def pytest_sessionfinish(session):
    path = session.config.getoption("--record")
    if path:
        Path(path).write_text(json.dumps(session.config.stash[OUTCOMES], indent=1))
