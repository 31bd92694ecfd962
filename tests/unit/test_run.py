# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cycle of every module, on a noun whose things are files: check, apply, again, drift, and what goes wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image_build import (
    ARGUMENT_SPEC as BUILD_SPEC,
)
from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image_build import BuildNoun, build_wanted
from ansible_collections.stowage.engine.plugins.module_utils._ansible.run import INFO_SPEC, Noun, Wanted, run, run_info
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import Conflict, InvalidOption
from ansible_collections.stowage.engine.plugins.module_utils._engine.host import Host
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.change import Change, Fields

SPEC = {"name": {"type": "str", "required": True}, "text": {"type": "str"}}


@dataclass(frozen=True)
class WriteNote(Change):
    name: str
    found: str | None
    text: str

    @property
    def subject(self) -> str:
        return f"note {self.name}"

    @property
    def before(self) -> Fields:
        return {} if self.found is None else {"text": self.found}

    @property
    def after(self) -> Fields:
        return {"text": self.text}


class NoteNoun(Noun):
    """Notes are files in a folder. ``broken``: applying does nothing. ``noisy``: two changes for each note."""

    name = "note"
    uses_engine = False

    def __init__(self, folder: Path, *, broken: bool = False, noisy: bool = False) -> None:
        self.folder, self.broken, self.noisy = folder, broken, noisy

    def observe(self, host: Host) -> Mapping[str, str]:
        return {path.name: path.read_text() for path in sorted(self.folder.glob("*"))}

    def plan(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        for name, text in desired.items():
            if current.get(name) != text:
                yield WriteNote(name, current.get(name), text)
                if self.noisy:
                    yield WriteNote(name, "draft", text)

    def apply(self, host: Host, changes: Iterable[Change]) -> None:
        self.folder.mkdir(exist_ok=True)
        assert os.path.exists(host.paths.lock), "changes are made under the lock"
        for change in changes:
            if not self.broken:
                (self.folder / change.name).write_text(change.text)

    def tell(self, thing: str) -> dict[str, Any]:
        return {"text": thing}


def wanted(params: Mapping[str, Any]) -> Wanted:
    if params["text"] == "bad":
        raise InvalidOption("text", params["text"], "a good text")
    return {params["name"]: params["text"]}


@pytest.fixture(name="call")
def _call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, Any]]:
    """Run the module as Ansible would and return its answer; the host is empty and its own."""
    monkeypatch.setenv("STOWAGE_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("STOWAGE_RUN_ROOT", str(tmp_path / "run"))

    def call(
        act: Callable[[AnsibleModule], Any], *, check: bool = False, spec: Any = None, **arguments: Any
    ) -> dict[str, Any]:
        with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit) as exit_:
            act(AnsibleModule(spec or SPEC, supports_check_mode=True))
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert (exit_.value.code == 0) == (not answer.get("failed"))
        return answer

    return call


def test_check_apply_again_and_drift(call: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    folder = tmp_path / "notes"

    def write(module: AnsibleModule) -> None:
        run(module, NoteNoun(folder), wanted)

    checked = call(write, check=True, name="a", text="hello")
    assert list(tmp_path.iterdir()) == [], "check mode wrote something"
    assert (checked["changed"], checked["note"]) == (True, {})

    applied = call(write, name="a", text="hello")
    assert applied["changes"] == checked["changes"]
    assert applied["diff"] == checked["diff"] == {"before": "", "after": 'note a: text: "hello"\n'}
    assert applied["note"] == {"name": "a", "text": "hello"}

    again = call(write, name="a", text="hello")
    assert (again["changed"], again["changes"]) == (False, [])
    assert again["diff"] == {"before": "", "after": ""}
    assert again["note"] == {"name": "a", "text": "hello"}

    (folder / "a").write_text("by hand")
    drifted = call(write, check=True, name="a", text="hello")
    assert drifted["diff"] == {"before": 'note a: text: "by hand"\n', "after": 'note a: text: "hello"\n'}
    assert drifted["changes"][0]["summary"] == "write note a (text: by hand -> hello)"
    assert call(write, name="a", text="hello")["changes"] == drifted["changes"]
    assert (folder / "a").read_text() == "hello"


def test_what_still_differs_after_applying_is_an_error(call: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    answer = call(lambda module: run(module, NoteNoun(tmp_path / "n", broken=True), wanted), name="a", text="hello")
    assert answer["error"] == "NotConverged"
    assert answer["msg"].endswith("still differs from what is wanted: write note a (text: hello)")


def test_bad_input_names_the_option_and_changes_nothing(call: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    answer = call(lambda module: run(module, NoteNoun(tmp_path / "notes"), wanted), name="a", text="bad")
    assert answer["msg"] == "text: 'bad' is not valid; expected a good text"
    assert (answer["error"], answer["option"], answer["expected"]) == ("InvalidOption", "text", "a good text")
    assert list(tmp_path.iterdir()) == []


def test_what_a_noun_warns_of_is_shown(call: Callable[..., dict[str, Any]]) -> None:
    build = {"name": "x:1", "content": "FROM scratch\n", "args": {"MISSPELT": "1"}}
    answer = call(lambda module: run(module, BuildNoun(), build_wanted), spec=BUILD_SPEC, check=True, **build)
    assert "args: no ARG declares MISSPELT, so it has no effect" in json.dumps(answer["warnings"])


def test_other_errors_are_a_sentence_and_a_kind(call: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    class Refusing(NoteNoun):
        def resolve(self, host: Host, wanted: Wanted) -> Wanted:
            raise Conflict("two notes clash")

    answer = call(lambda module: run(module, Refusing(tmp_path / "notes"), wanted), name="a", text="hello")
    assert (answer["msg"], answer["error"]) == ("two notes clash", "Conflict")
    assert "option" not in answer


def test_two_changes_of_one_thing_are_both_in_the_diff(call: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a").write_text("old")
    answer = call(lambda module: run(module, NoteNoun(folder, noisy=True), wanted), check=True, name="a", text="new")
    assert answer["diff"]["before"] == 'note a: text: "old"\nnote a: text: "draft"\n'


def test_many_things_are_a_list_that_says_which_changed(call: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "kept").write_text("hello")

    def both(params: Mapping[str, Any]) -> Wanted:
        return {"new": params["text"], "kept": params["text"]}

    answer = call(lambda module: run(module, NoteNoun(folder), both, many=True), name="a", text="hello")
    assert answer["notes"] == [
        {"name": "new", "text": "hello", "changed": True},
        {"name": "kept", "text": "hello", "changed": False},
    ]


def test_info_tells_all_or_those_that_are_named(call: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    for name in ("b", "a"):
        (folder / name).write_text(name)

    def info(module: AnsibleModule) -> None:
        run_info(module, NoteNoun(folder))

    everything = call(info, spec=INFO_SPEC)
    assert [note["name"] for note in everything["notes"]] == ["a", "b"]
    named = call(info, spec=INFO_SPEC, names=["b", "nowhere"])
    assert named["notes"] == [{"name": "b", "text": "b"}]
    assert named["changed"] is False
