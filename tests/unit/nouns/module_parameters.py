# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task's arguments as a module gets them, through Ansible's own validator; and how each noun takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.stowage.engine.plugins.module_utils._ansible import controller
from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns import (
    cgroup,
    container,
    engine,
    image,
    image_archive,
    image_bootstrap,
    image_build,
    image_commit,
    image_policy,
    image_prune,
    image_push,
    image_sbom,
    image_sign,
    image_tag,
    image_transfer,
    network,
)

# Argument spec, required_if, and the parser of each module.
MODULES: dict[str, tuple[dict[str, Any], list[Any], Callable[[Mapping[str, Any]], Any]]] = {
    "cgroup": (cgroup.ARGUMENT_SPEC, [], cgroup.cgroup_wanted),
    "container": (container.ARGUMENT_SPEC, container.REQUIRED_IF, container.container_wanted),
    "containers": (container.LIST_SPEC, [], container.containers_wanted),
    "host": (engine.ARGUMENT_SPEC, [], engine.engine_wanted),
    "image": (image.ARGUMENT_SPEC, [], image.image_wanted),
    "image_archive": (
        image_archive.ARGUMENT_SPEC,
        [],
        lambda params: (image_archive.archive_wanted if params["state"] == "exported" else image_archive.load_wanted)(
            params
        ),
    ),
    "image_bootstrap": (image_bootstrap.ARGUMENT_SPEC, [], image_bootstrap.bootstrap_wanted),
    "image_build": (image_build.ARGUMENT_SPEC, [], image_build.build_wanted),
    "image_commit": (image_commit.ARGUMENT_SPEC, [], image_commit.commit_wanted),
    "image_lock": (controller.LOCK_SPEC, [], lambda params: {}),
    "image_policy": (image_policy.ARGUMENT_SPEC, [], image_policy.policy_wanted),
    "image_prune": (image_prune.ARGUMENT_SPEC, [], image_prune.prune_wanted),
    "image_sbom": (image_sbom.ARGUMENT_SPEC, image_sbom.REQUIRED_IF, image_sbom.sbom_wanted),
    "image_sign": (image_sign.SIGN_SPEC, [], image_sign.signature_wanted),
    "image_verify": (image_sign.VERIFY_SPEC, [], lambda params: {"": image_policy.parse_signed("", params)}),
    "image_push": (image_push.ARGUMENT_SPEC, [], image_push.push_wanted),
    "image_tag": (image_tag.ARGUMENT_SPEC, [], image_tag.tags_wanted),
    "image_transfer": (image_transfer.ARGUMENT_SPEC, [], image_transfer.transfer_wanted),
    "network": (network.ARGUMENT_SPEC, network.REQUIRED_IF, network.network_wanted),
}


def validate(module: str, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(parameters with defaults and types, Ansible's complaints)."""
    spec, required_if, _parse = MODULES[module]
    result = ArgumentSpecValidator(spec, required_if=required_if).validate(dict(arguments))
    return result.validated_parameters, result.error_messages


def wanted(module: str, **arguments: Any) -> Any:
    """What the module's one thing comes to in the model."""
    parameters, complaints = validate(module, arguments)
    assert not complaints, complaints
    found = MODULES[module][2](parameters)
    return next(iter(found.values())) if len(found) == 1 else found
