# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a playbook has changed in a container's root becomes an image."""

from __future__ import annotations

import os
import stat

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import NotFound
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.commit import commit_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import ImageConfig
from tests.kernel.build.conftest import BASE


def test_a_directory_of_changes_becomes_an_image(workshop):
    """What a playbook has changed in a container's root is committed so."""
    workshop.build(BASE + "RUN mkdir /d && touch /d/a /d/b\n", name="docker.io/library/base:1")
    upper = workshop.directory / "upper"
    (upper / "d").mkdir(parents=True)
    (upper / "d/new").write_text("new")
    os.mknod(upper / "d/a", stat.S_IFCHR, os.makedev(0, 0))
    (upper / "bin").mkdir()
    options = {"base": "base:1", "name": "built:1", "told": "a playbook", "epoch": 5}
    digest = commit_image(workshop.paths, str(upper), config=ImageConfig(command=("sh",)), **options)
    assert set(workshop.tree()) == {"d", "d/b", "d/new"}
    assert workshop.config()["Cmd"] == ["sh"]
    assert workshop.document()["history"][-1] == {"created": "1970-01-01T00:00:05Z", "created_by": "a playbook"}
    assert commit_image(workshop.paths, str(upper), config=ImageConfig(command=("sh",)), **options) == digest
    (workshop.directory / "empty").mkdir()
    commit_image(workshop.paths, str(workshop.directory / "empty"), **options)
    assert workshop.document()["history"][-1]["empty_layer"]
    with pytest.raises(NotFound, match="none:1"):
        commit_image(workshop.paths, str(upper), **{**options, "base": "none:1"})
