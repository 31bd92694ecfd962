# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans by example: every folder cases/<noun>/<case>/ is a test.

- ``current.yml``: what the host has; no file: nothing. ``desired.yml``: what is wanted; no file: its absence. Of
  ``containers`` both are by name, and null is absence; of ``build`` and ``commit`` what is wanted has two parts.
- ``orders.yml``: further arguments of the plan, such as ``restart: true``; seldom there.
- ``changes.yml``: the changes that the plan must yield, in order, each with change, before, after and summary.

To add a case, copy a folder and edit it. Where the plan yields something else, the failure shows it as YAML.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.stowage.engine.plugins.module_utils._engine.model.bootstrap import Bootstrap
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.build import Build, Forecast
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.cgroup import Cgroup
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.commit import Commit
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.container import Container, ContainerState
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.engine import Engine
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.network import Network
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import RemoteImage
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.transfer import Transfer
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.trust import Policy
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.bootstrap import plan_bootstrap
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.build import plan_build
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.cgroup import plan_cgroup
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.change import Change
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.commit import plan_commit
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.container import plan_container
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.engine import plan_engine
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.image import plan_image, plan_tag
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.joining import plan_containers
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.network import plan_network
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.policy import plan_policy
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.push import plan_push
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.transfer import plan_transfer
from tests.unit.plan.model_from_yaml import build

CASES = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class WantedBuild:
    build: Build
    forecast: Forecast = Forecast()

    def plan(self, current: Image | None) -> Iterator[Change]:
        return plan_build(self.build, self.forecast, current)


@dataclass(frozen=True)
class WantedCommit:
    commit: Commit
    image: Image

    def plan(self, current: Image | None) -> Iterator[Change]:
        return plan_commit(self.commit, self.image, current)


FILES = {"current.yml", "desired.yml", "orders.yml", "changes.yml"}
# The plan of each noun, and what its desired and its current state are.
NOUNS: dict[str, tuple[Callable[..., Any], Any, Any]] = {
    "bootstrap": (plan_bootstrap, Bootstrap, Image),
    "build": (WantedBuild.plan, WantedBuild, Image),
    "cgroup": (plan_cgroup, Cgroup, Cgroup),
    "commit": (WantedCommit.plan, WantedCommit, Image),
    "container": (plan_container, Container, ContainerState),
    "containers": (plan_containers, dict[str, Container], dict[str, ContainerState]),
    "engine": (plan_engine, Engine, Engine),
    "image": (plan_image, Image, Image),
    "network": (plan_network, Network, Network),
    "policy": (plan_policy, Policy, Policy),
    "push": (plan_push, RemoteImage, RemoteImage),
    "tag": (plan_tag, Image, Image),
    "transfer": (plan_transfer, Transfer, Image),
}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None


class _Indented(yaml.SafeDumper):
    """Lists stand indented in their mapping, as yamllint wants it."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def dump(changes: list[dict[str, Any]]) -> str:
    """What belongs into changes.yml."""
    return yaml.dump(
        changes, Dumper=_Indented, sort_keys=False, width=110, default_flow_style=None, explicit_start=True
    )


def find_cases() -> list[str]:
    return sorted(str(folder.relative_to(CASES)) for folder in CASES.glob("*/*/"))


@pytest.mark.parametrize("case", find_cases())
def test_case(case: str) -> None:
    folder = CASES / case
    unknown = {file.name for file in folder.iterdir()} - FILES
    assert not unknown, f"{case}: {unknown} are not read; a case has {sorted(FILES)}"
    plan, desired_type, current_type = NOUNS[folder.parent.name]
    desired, current = load(folder / "desired.yml"), load(folder / "current.yml")
    changes = plan(
        None if desired is None else build(desired_type, desired),
        None if current is None else build(current_type, current),
        **(load(folder / "orders.yml") or {}),
    )
    told = [change.describe() for change in changes]
    found = [{name: one[name] for name in ("change", "before", "after", "summary")} for one in told]
    assert found == load(folder / "changes.yml"), f"{case}: the plan yields\n{dump(found)}"


def test_every_noun_has_cases() -> None:
    assert {case.partition("/")[0] for case in find_cases()} == NOUNS.keys()


def test_a_field_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="fields of Limits"):
        build(Cgroup, {"path": "shop", "limits": {"memry": 1}})


def test_a_value_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(TypeError, match=r"limits.memory: int is expected, not '1G'"):
        build(Cgroup, {"path": "shop", "limits": {"memory": "1G"}})
