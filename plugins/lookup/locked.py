# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup locked: the name, with its digest, that a lock file has for an image."""

from __future__ import annotations

DOCUMENTATION = r"""
name: locked
short_description: An image's name with the digest that a lock file has for it
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Reads a lock file that M(stowage.engine.image_lock) wrote, and gives C(registry/repository@digest) for a name. Every
    host that uses it gets the same bytes. No registry is asked.
  - With C(--check), what the file does not have is taken for the work of an earlier M(stowage.engine.image_lock), which
    writes nothing then, and the name is given as it is, with a warning.
options:
  _terms:
    description: Names of images, as M(stowage.engine.image_lock) was given them.
    required: true
  path:
    description: The lock file, beside the playbook or in C(files/) of the role.
    type: str
    default: images.lock.json
    vars:
      - name: stowage_lock_file
"""

EXAMPLES = r"""
- name: Run what was locked
  stowage.engine.container:
    name: web
    image: "{{ lookup('stowage.engine.locked', 'registry.example.com/shop/web:1.4') }}"
"""

RETURN = r"""
_list:
  description: The names with their digests, in the order of the terms.
  type: list
  elements: str
"""

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import EngineError
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.lock import parse_lock, pinned_name
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.reference import normalise


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        # What comes from a variable is as it was written, with templates.
        told = self._templar.template(self.get_option("path"))
        path = self.find_file_in_search_path(variables or {}, "files", told, ignore_missing=True)
        check = bool((variables or {}).get("ansible_check_mode"))
        if not path and not check:
            raise AnsibleError(f"there is no lock file {told}; write it with stowage.engine.image_lock first")
        try:
            locked = _read(path) if path else {}
            return [_pinned(normalise("locked", term), locked, path or told, check=check) for term in terms]
        except EngineError as error:
            raise AnsibleError(str(error)) from error


def _read(path: str) -> dict[str, str]:
    with open(path, "rb") as file:
        return parse_lock(file.read(), path)


def _pinned(name: str, locked: dict[str, str], path: str, *, check: bool) -> str:
    if name in locked:
        return pinned_name(name, locked[name])
    if not check:
        raise AnsibleError(f"{path} does not lock {name}; add it with stowage.engine.image_lock")
    Display().warning(f"{path} does not lock {name}; check mode takes it that an earlier task does")
    return name
