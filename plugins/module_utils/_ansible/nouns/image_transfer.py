# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that come from the controller: the host's end, which plugins/action/image_transfer.py calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ..._engine.errors import InvalidOption
from ..._engine.host import Host
from ..._engine.model.image import Limits
from ..._engine.model.transfer import Transfer, parse_offer
from ..._engine.plan.change import Change
from ..._engine.plan.transfer import TransferImage, plan_transfer
from ..run import Wanted, run
from .image import ImageNoun
from .image_limits import LIMIT_OPTIONS, parse_image_limits
from .registry import REGISTRY_OPTIONS

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "src": {"type": "path"},
    "pull": {"type": "str", "choices": ["not_present", "always"], "default": "not_present"},
    "platform": {"type": "str"},
    "verified_digest": {"type": "str"},
    "cache": {"type": "path"},
    "cache_days": {"type": "int", "default": 90},
    **LIMIT_OPTIONS,
    **REGISTRY_OPTIONS,
    "offer": {"type": "dict"},
    "incoming": {"type": "path"},
}


def transfer_wanted(params: Mapping[str, Any]) -> Wanted:
    """The module's parameters as {normalised name: (Offer, Limits)}."""
    if not params["offer"]:
        raise InvalidOption("offer", params["offer"], "what the action plugin image_transfer says; it runs this module")
    offer = parse_offer("offer", params["offer"])
    return {offer.name: (offer, parse_image_limits(params))}


class TransferNoun(ImageNoun):
    """An image that comes from the controller; ``incoming`` is where its blobs have come."""

    def __init__(self, incoming: str) -> None:
        super().__init__()
        self.incoming = incoming

    def resolve(self, host: Host, wanted: Wanted) -> Wanted:
        return {name: _limited(host.resolve_transfer(offer), limits) for name, (offer, limits) in wanted.items()}

    def plan(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        for name, transfer in desired.items():
            yield from plan_transfer(transfer, current.get(name))

    def apply(self, host: Host, changes: Iterable[Change]) -> None:
        for change in changes:
            if isinstance(change, TransferImage):
                host.receive_image(change.desired, self.incoming)


def _limited(transfer: Transfer, limits: Limits) -> Transfer:
    return replace(transfer, image=replace(transfer.image, limits=limits))


# The module ---------------------------------------------------------------------------------------


def run_image_transfer() -> NoReturn:
    """Without ``incoming`` the controller asks what is lacking: that is what check mode tells."""
    module = AnsibleModule(ARGUMENT_SPEC, supports_check_mode=True)
    incoming = module.params["incoming"] or ""
    module.check_mode = module.check_mode or not incoming
    run(module, TransferNoun(incoming), transfer_wanted)
