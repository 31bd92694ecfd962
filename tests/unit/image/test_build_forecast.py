# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A forecast of whatever can be written is a forecast, or an error that says what is wrong: never a traceback."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.stowage.engine.plugins.module_utils._engine.building import forecast_build
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import EngineError
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.build import Build
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

PATHS = [
    "a",
    "d",
    "d/b",
    "link",
    "none",
    ".",
    "..",
    "/",
    "/x",
    "/x/",
    "*",
    "**/*",
    "[",
    "[]",
    "?",
    "$v",
    "${v:-d}",
    "${v",
]
SIGNS = [
    "'q",
    '"q r"',
    "\\",
    "80",
    "80-90/udp",
    "k=v",
    "k=$v",
    "<<E",
    '["a"]',
    '["a", "/b"]',
    "~",
    "#",
    "1:2",
    "9",
    "0",
]
OTHERS = ["scratch", "AS", "one", "two", "\x00", "é", "\udcff", "CMD", "NONE"]
WORDS = st.lists(st.sampled_from([*PATHS, *SIGNS, *OTHERS]), max_size=4).map(" ".join)
FLAGS = st.sampled_from(
    [
        *("", "", "", "--from=one", "--from=0", "--from=two", "--from=localhost:1/none", "--chown=1:2", "--chown=app"),
        *("--chmod=755", "--chmod=u=x", "--link", "--parents", "--exclude=*", "--exclude=[", "--network=none"),
        *("--mount=target=/m", "--mount=type=cache,target=$v", "--mount=type=bind,from=one,target=/m,source=/x"),
        *("--mount=type=secret,id=s", "--mount=type=tmpfs,target=/t,size=1g", "--interval=1s", "--platform=$v"),
    ]
)
CONFIGURE = ["ENV", "LABEL", "USER", "VOLUME", "EXPOSE", "CMD", "ENTRYPOINT", "SHELL", "STOPSIGNAL", "HEALTHCHECK"]
NAMES = st.sampled_from(["FROM", "ARG", *["COPY", "ADD", "RUN", "WORKDIR"] * 2, "ONBUILD", "MAINTAINER", *CONFIGURE])
STEPS = st.lists(st.tuples(NAMES, FLAGS, WORDS).map(" ".join), max_size=8)


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    directory = tmp_path_factory.mktemp("context")
    (directory / "d").mkdir()
    (directory / "a").write_text("a")
    (directory / "d/b").write_text("b")
    (directory / "link").symlink_to("d")
    os.mkfifo(directory / "pipe")
    return directory


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(STEPS, STEPS)
def test_whatever_is_written(context, first, second):
    text = "\n".join(["FROM scratch AS one", *first, "FROM one AS two", *second, ""])
    paths = Paths(f"{context}-root", f"{context}-run")
    build = Build("docker.io/library/x:1", context=str(context), content=text, args=(("v", "value"),))
    try:
        forecast = forecast_build(paths, build)
    except EngineError as error:
        assert str(error)
    else:
        assert len(forecast.steps) >= 1
    assert not os.path.exists(paths.root)
