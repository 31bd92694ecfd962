# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container's log, read to its end and beyond."""

from __future__ import annotations

import subprocess

from ansible_collections.stowage.engine.plugins.module_utils._engine.shim.logs import format_log, read_logs


def test_parts_of_a_line_are_put_together(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(format_log("stdout", b"a long", 0) + format_log("stderr", b"other\n", 0))
    with log.open("ab") as file:
        file.write(format_log("stdout", b" line\n", 0))
    found = {(line.stream, line.text) for line in read_logs(str(log))}
    assert found == {("stdout", "a long line"), ("stderr", "other")}


def test_following_goes_on_where_the_reading_stood_until_the_monitor_ends(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(format_log("stdout", b"first\nsecond\n", 0))
    script = "for line in third fourth; do sleep 0.1; echo 1970-01-01T00:00:00.000000000Z stdout F $line >> log; done"
    with subprocess.Popen(["sh", "-c", script], cwd=tmp_path) as writer:
        found = [line.text for line in read_logs(str(log), tail=1, follow=writer.pid)]
    assert found == ["second", "third", "fourth"]


def test_a_monitor_that_is_gone_is_not_waited_for(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(format_log("stdout", b"only\n", 0))
    with subprocess.Popen(["true"]) as gone:
        pass
    assert [line.text for line in read_logs(str(log), follow=gone.pid)] == ["only"]
