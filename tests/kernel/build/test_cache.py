# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is unchanged is not built again, here and on another host; what changed is, and what depends on it."""

from __future__ import annotations

import os
import time

from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.prune import (
    observe_build_cache,
    prune_build_cache,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.gc import remove_image, sweep
from tests.kernel.build.conftest import BASE, NAME, every_file

TEN_STEPS = BASE + 'RUN echo 1 > /1\nRUN echo 2 > /2\nENV a=b\nWORKDIR /srv\nCOPY f* .\nRUN cat f1 > f4\nCMD ["sh"]\n'


def listing(directory):
    return {path: os.lstat(path)[1:7] + os.lstat(path)[8:] for path in [directory, *every_file(directory)]}


def test_what_is_unchanged_is_not_built_again(workshop):
    for number in (1, 2):
        workshop.write(f"f{number}", "x")
    assert workshop.forecast(TEN_STEPS).digest == ""
    digest = workshop.build(TEN_STEPS)
    before = listing(workshop.paths.root)
    forecast = workshop.forecast(TEN_STEPS)
    assert forecast.digest == digest
    assert [step.outcome for step in forecast.steps if step.outcome != "configured"] == ["cached"] * 7
    assert listing(workshop.paths.root) == before, "a forecast wrote something"
    assert workshop.build(TEN_STEPS) == digest
    assert not any(line == "sh" for line in workshop.log)


def test_what_changed_is_built_again_and_what_does_not_depend_on_it_is_not(workshop):
    text = BASE + "RUN echo 1\nCOPY a /a\nRUN cat /a > /b\nRUN echo 2 > /c\n"
    workshop.write("a", "one")
    first = workshop.build(text)
    assert workshop.outcomes(text) == ["cached"] * 6
    workshop.write("a", "two")
    assert workshop.outcomes(text) == ["cached"] * 3 + ["built"] * 3
    assert workshop.build(text) != first
    assert workshop.read("/b") == "two"
    workshop.write("a", "one")
    assert workshop.forecast(text).digest == first
    # The mode of a file is content, its time is not.
    os.utime(workshop.context / "a", (1, 1))
    assert workshop.forecast(text).digest == first
    (workshop.context / "a").chmod(0o755)
    assert workshop.outcomes(text) == ["cached"] * 3 + ["built"] * 3


def test_a_file_whose_time_was_set_back_is_read_again(workshop):
    text = BASE + "COPY a /a\n"
    file = workshop.write("a", "one")
    os.utime(file, ns=(10**18, 10**18))
    time.sleep(0.2)  # so that its digest may be remembered
    workshop.build(text)
    assert workshop.build(text)
    file.write_text("two")
    os.utime(file, ns=(10**18, 10**18))
    workshop.build(text)
    assert workshop.read("/a") == "two"


def test_a_step_with_the_same_outcome_leaves_the_next_as_they_are(workshop):
    text = BASE + "COPY . /src\nRUN cp /src/a /a\nFROM scratch\nCOPY --from=0 /a /a\nCOPY busybox /b\n"
    workshop.write("a", "one")
    workshop.write("note", "one")
    digest = workshop.build(text)
    workshop.write("note", "two")
    assert workshop.forecast(text).digest == ""
    assert workshop.build(text) == digest, "the last stage has the same files"


def test_check_mode_knows_the_digest_where_no_step_has_to_run(workshop):
    workshop.build(BASE)
    workshop.write("a/b", "x")
    text = BASE + "COPY a /a\nLABEL x=y\nWORKDIR /new/dir\nCOPY --chmod=600 a/b c\n"
    forecast = workshop.forecast(text)
    assert forecast.digest == workshop.build(text)
    assert [step.outcome for step in forecast.steps] == [
        *("configured", "cached", "cached", "built", "configured", "built", "built"),
    ]


def test_without_a_cache_everything_is_done_again(workshop):
    text = BASE + "RUN cat /proc/sys/kernel/random/uuid > /id\n"
    first = workshop.build(text)
    assert workshop.build(text) == first
    assert workshop.build(text, cache=False) != first


def test_a_linked_copy_does_not_depend_on_what_is_below(workshop):
    workshop.write("a", "x")
    step = "COPY --link --chown=3:4 a /d/\n"
    workshop.build(BASE + "RUN mkdir -m 700 /d && touch /d/b\n" + step)
    assert workshop.tree()["d"] == ("0o40755", 3, 4, "")
    assert workshop.has("/d/b")
    assert workshop.outcomes("FROM scratch\n" + step) == ["cached"]


def test_two_hosts_come_to_the_same_digest(workshop, another_workshop):
    text = BASE + (
        "RUN mkdir -p /d/e && echo x > /d/e/f && ln -s f /d/e/l && ln /d/e/f /d/e/h && chown 5:6 /d && rm /bin/zcat\n"
        "COPY --chown=1:2 tree /tree\nRUN mv /tree /moved && echo $SOURCE_DATE_EPOCH > /epoch\n"
    )
    digests = []
    for place in (workshop, another_workshop):
        for name in ("b", "a") if place is workshop else ("a", "b"):
            place.write(f"tree/{name}", name)
        digests.append(place.build(text, epoch=1_700_000_000))
        time.sleep(1.1)  # another second, in which times would be others
    assert digests[0] == digests[1]
    assert workshop.blobs() == another_workshop.blobs()
    assert workshop.document()["created"] == "2023-11-14T22:13:20Z"
    made = [path for layer in workshop.layers() for path in every_file(layer) if not path.is_char_device()]
    latest = max(os.lstat(path).st_mtime for path in made)
    assert latest == 1_700_000_000
    assert workshop.read("/epoch") == "1700000000\n"


def test_layers_of_the_cache_stay_until_it_is_pruned(workshop):
    text = BASE + "FROM scratch\nCOPY --from=0 /bin/busybox /b\n"
    digest = workshop.build(text)
    remove_image(workshop.paths, NAME)
    assert workshop.forecast(text).digest == digest
    assert len(os.listdir(workshop.paths.layers)) == 3
    entries = observe_build_cache(workshop.paths)
    assert len([entry for entry in entries if entry.name.startswith("steps/")]) == 3
    prune_build_cache(workshop.paths, entries)
    sweep(workshop.paths)
    assert os.listdir(workshop.paths.layers) == []
    assert workshop.build(text) == digest
