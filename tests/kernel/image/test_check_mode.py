# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module image says in check mode of an image at a registry is what it does, and it writes nothing to say so."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image import (
    ARGUMENT_SPEC,
    ImageNoun,
    image_wanted,
)
from ansible_collections.stowage.engine.plugins.module_utils._ansible.run import _reconcile
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    EngineError,
    InvalidImage,
    NotFound,
    RegistryError,
    Untrusted,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.host import Host
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust.policy import apply_policy
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.trust import REJECT, Policy, Requirement
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .conftest import digest_of, layer_of, member
from .faulty import FaultyRegistry, Handler, status

pytestmark = pytest.mark.root

LAYERS = [layer_of(member(f"file{n}"), content=b"%d" % n) for n in range(2)]


@pytest.fixture
def faulty() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as registry:
        registry.put_image("1", LAYERS[0], config={"os": "linux", "architecture": "amd64"})
        yield registry


class Task:
    """The module's run on a host, and what it told."""

    def __init__(self, paths: Paths, faulty: FaultyRegistry) -> None:
        self.paths, self.faulty = paths, faulty
        self.granted: list[str] = []

    def __call__(self, *, check: bool, tag: str = "1", **options: Any) -> list[dict[str, Any]]:
        given = {"name": f"{self.faulty.host}/app:{tag}", "insecure": True, **options}
        params = ArgumentSpecValidator(ARGUMENT_SPEC).validate(given).validated_parameters
        host = Host(self.paths, absent=self.grant) if check else Host(self.paths)
        noun = ImageNoun(refresh=params["pull"] == "always", verify=params["verify"])
        with host.locked() if not check else threading.Lock():
            return [change.describe() for change in _reconcile(host, noun, image_wanted(params), check=check)[0]]

    def grant(self, error: NotFound) -> None:
        self.granted.append(str(error))


@pytest.fixture
def task(paths: Paths, faulty: FaultyRegistry) -> Task:
    return Task(paths, faulty)


@pytest.mark.parametrize("platform", [None, "linux/amd64"])
@pytest.mark.parametrize("pull", ["not_present", "always"])
def test_it_tells_the_digest_and_writes_nothing(task: Task, pull: str, platform: str | None) -> None:
    checked = task(check=True, pull=pull, platform=platform)
    assert not os.path.exists(task.paths.root) and not os.path.exists(task.paths.run_root)
    assert [asked.method for asked in task.faulty.asked if digest_of(LAYERS[0]) in asked.path] == []
    made = task(check=False, pull=pull, platform=platform)
    assert checked == made and made[0]["after"]["digest"].startswith("sha256:")
    for check in (True, False):
        assert task(check=check, pull=pull, platform=platform) == []


def test_an_image_that_is_here_is_not_asked_for(task: Task) -> None:
    task(check=False)
    task.faulty.asked.clear()
    assert task(check=True) == task(check=False) == []
    assert task.faulty.asked == []


def test_what_the_run_would_refuse_the_check_refuses(task: Task) -> None:
    refusals: list[tuple[dict[str, Any], type[EngineError], str]] = [
        ({"platform": "linux/s390x"}, InvalidImage, "linux/s390x"),
        ({"name": f"{task.faulty.host}/locked:1"}, RegistryError, "401"),
    ]
    for options, kind, words in refusals:
        for check in (True, False):
            task.faulty.fault("HEAD", "/locked/", status(401))
            with pytest.raises(kind, match=words):
                task(check=check, **options)
    apply_policy(task.paths, Policy((Requirement(REJECT),)))
    for check in (True, False):
        with pytest.raises(Untrusted):
            task(check=check)
    assert task.granted == [] and not os.path.exists(task.paths.images)


def test_what_an_earlier_task_may_push_is_taken_for_granted_in_check_mode_alone(task: Task) -> None:
    assert task(check=True, tag="later")[0]["after"] == {"digest": "as the registry has it"}
    assert len(task.granted) == 1 and "app:later' is not at its registry" in task.granted[0]
    with pytest.raises(NotFound, match=r"manifests/later.*404"):
        task(check=False, tag="later")


def test_a_tag_that_moves_meanwhile_is_what_was_told(task: Task) -> None:
    task(check=False)
    second = task.faulty.put_image("1", LAYERS[1])

    def move(handler: Handler) -> None:
        handler.serve()
        task.faulty.put_image("1", *LAYERS)

    task.faulty.fault("HEAD", "/manifests/1", move)
    made = task(check=False, pull="always")
    assert made[0]["after"]["digest"] == second
    assert Host(task.paths).observe_images()[f"{task.faulty.host}/app:1"].digest == second
    third = task(check=False, pull="always")[0]["after"]["digest"]
    assert third not in (second, made[0]["before"]["digest"])


def test_a_registry_that_takes_long_to_answer_holds_nobody_up(task: Task) -> None:
    free: list[bool] = []

    def look(handler: Handler) -> None:
        with open(task.paths.lock, "rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                free.append(True)
            except BlockingIOError:
                free.append(False)
        handler.serve()

    task.faulty.fault("HEAD", "/manifests/1", look)
    task(check=False)
    assert free == [True]
