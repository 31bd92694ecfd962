# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option of everything that makes images: what their containers do."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  config:
    description:
      - What a container of the image does unless told otherwise. What is not given is as the image has it that this one
        is made from, if there is one.
    type: dict
    suboptions:
      command:
        description: The command, a list or a string that is split as a shell would.
        type: raw
      entrypoint:
        description: Goes before the command, a list or a string.
        type: raw
      env:
        description: Environment variables.
        type: dict
      working_dir:
        description: The directory in which the command starts.
        type: str
      user:
        description: The user, by name or number, with C(:group) after it if wanted.
        type: str
      stop_signal:
        description: The signal that asks a container to end.
        type: str
      labels:
        description: Labels of the image.
        type: dict
      exposed_ports:
        description: Ports that the image's program listens on, such as V(80/tcp). For the reader only.
        type: list
        elements: str
"""
