# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Corners of Containerfile's syntax, as the Dockerfile reference has them: here-documents, arguments, times."""

from __future__ import annotations

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidOption
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.build import Secret
from tests.kernel.build.conftest import BASE

HEREDOCS = {
    "RUN <<EOF cat > /o\n$HOME one\nEOF\n": "/root one\n",
    "RUN <<'EOF' cat > /o\n$HOME two\nEOF\n": "$HOME two\n",
    "RUN <<EOF tee /o\necho three\nEOF\n": "echo three\n",
    "RUN <<-EOF sh\n\techo four > /o\n\tEOF\n": "four\n",
    "RUN <<EOF\necho five > /o\nEOF\n": "five\n",
    "RUN 3<<EOF cat <&3 > /o\nsix\nEOF\n": "six\n",
}


@pytest.mark.parametrize("step", HEREDOCS)
def test_a_here_document_is_a_script_only_where_it_stands_alone(workshop, step):
    workshop.build(BASE + "ENV HOME=/root\n" + step)
    assert workshop.read("/o") == HEREDOCS[step]


def test_a_stage_has_the_arguments_of_the_stage_that_it_begins_with(workshop):
    text = BASE.replace("scratch", "scratch AS base") + (
        "ARG NAME=joe\nFROM base AS child\nRUN echo hello $NAME > /o\nFROM child\nRUN echo $NAME >> /o\nFROM scratch\n"
        "COPY --from=2 /o /o\nLABEL name=none-$NAME\n"
    )
    workshop.build(text)
    assert workshop.read("/o") == "hello joe\njoe\n"
    assert workshop.config()["Labels"] == {"name": "none-"}
    workshop.build(text, args=(("NAME", "ann"),))
    assert workshop.read("/o") == "hello ann\nann\n"


def test_an_argument_may_say_the_epoch(workshop):
    text = BASE + "RUN echo $SOURCE_DATE_EPOCH > /o\n"
    digest = workshop.build(text, epoch=1_000_000_000)
    assert workshop.forecast(text, args=(("SOURCE_DATE_EPOCH", "1000000000"),)).digest == digest
    workshop.build(text, args=(("SOURCE_DATE_EPOCH", "1000000000"),))
    assert workshop.read("/o") == "1000000000\n"
    assert workshop.document()["created"] == "2001-09-09T01:46:40Z"
    workshop.build(text, args=(("SOURCE_DATE_EPOCH", "1000000000"),), epoch=5)
    assert workshop.document()["created"] == "1970-01-01T00:00:05Z"
    for value in ("tomorrow", "-1", "1e9", "9" * 13):
        with pytest.raises(InvalidOption, match="SOURCE_DATE_EPOCH"):
            workshop.forecast(text, args=(("SOURCE_DATE_EPOCH", value),))


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1])
@pytest.mark.parametrize("kind", ["path", "value"])
def test_a_secret_is_shown_whole_or_refused(workshop, tmp_path, size, kind):
    (tmp_path / "s").write_bytes(b"x" * size)
    secret = Secret("s", str(tmp_path / "s")) if kind == "path" else Secret("s", value=b"x" * size)
    text = BASE + "RUN --mount=type=secret,id=s wc -c < /run/secrets/s > /o\n"
    if size > 1 << 20:
        for act in (workshop.forecast, workshop.build):
            with pytest.raises(InvalidOption, match="1048577 bytes"):
                act(text, secrets=(secret,))
        return
    workshop.build(text, secrets=(secret,))
    assert workshop.read("/o").strip() == str(size)


def test_times_of_nought_are_docker_s_own(workshop):
    workshop.build(BASE + "HEALTHCHECK --interval=0s --timeout=0 --retries=0 CMD x\n")
    assert workshop.config()["Healthcheck"] == {"Test": ["CMD-SHELL", "x"]}
