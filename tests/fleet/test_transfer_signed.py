# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts take that demand signatures: those that come with the image, and what the controller vouches for."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.kernel.image.carried import carry, entries, forge

from .controller import LAYERS, Controller, Key, blobs_of, digest_of, incoming

pytestmark = pytest.mark.root

KEY, OTHER = Key(), Key()


def test_what_the_controller_has_verified_is_taken_by_that_digest_alone(controller: Controller) -> None:
    name = controller.push("vouched:1", LAYERS[:1])
    raw = subprocess.check_output(["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{name}"])
    node = controller.hosts.node("node-b")
    with controller.demanding(node_b=KEY):
        for digest in (None, digest_of(b"another")):
            refused = controller.transfer(name=name, hosts="node-b", failing=True, verified_digest=digest)
            assert "it is not signed" in refused.output and blobs_of(node) == set()
        failed = controller.transfer(name=name, hosts="node-b", failing=True, verified_digest="latest")
        assert "verified_digest: 'latest'" in failed.output
        told = controller.transfer(name=name, hosts="node-b", verified_digest=digest_of(raw)).told["node-b"]
        assert told["changed"] and told["image"]["digest"] == digest_of(raw)


@pytest.mark.parametrize("store", ["tag", "referrer"])
def test_each_host_takes_what_is_signed_with_its_key(controller: Controller, store: str) -> None:
    """Hosts reach no registry: the controller carries the signatures along."""
    name = controller.push(f"signed-{store}:1", LAYERS[:2])
    with controller.demanding(node_a=KEY, node_b=OTHER):
        controller.refused("it is not signed; sign it", name=name)
        controller.sign(name, KEY, store=store)
        check = controller.transfer("--check", name=name, failing=True)
        log = controller.directory / "log"
        log.write_text("")
        real = controller.transfer(name=name, failing=True)
        assert len(re.findall(r'"GET /v2/[^ ]+/manifests/sha256-[0-9a-f]{64}\.sig', log.read_text())) == 1
        for played in (check, real):
            assert played.told.keys() == {"node-a"} and played.told["node-a"]["sent"]["blobs"] == 2
            assert "none of its 1 signatures was made with a key of the policy" in played.output
            assert "[node-b] sending " not in played.output
        assert real.told["node-a"]["changes"] == check.told["node-a"]["changes"]
        node_b = controller.hosts.node("node-b")
        assert blobs_of(node_b) == set() and incoming(node_b) == ""
        controller.sign(name, OTHER, store=store)
        both = controller.transfer(name=name).told
        assert {host: told["changed"] for host, told in both.items()} == {"node-a": False, "node-b": True}


def test_a_forged_signature_is_refused(controller: Controller) -> None:
    name = controller.push("forged:1", LAYERS[:1])
    digest = controller.sign(name, KEY)
    layout = controller.directory / "forged"
    carry(name, layout, digest)
    forge(layout, digests=True)
    [_image, signatures] = entries(layout)
    told = signatures["annotations"]["org.opencontainers.image.ref.name"]
    copy = ["skopeo", "copy", "-q", "--preserve-digests", "--dest-tls-verify=false"]
    subprocess.run([*copy, f"oci:{layout}:{told}", f"docker://{told}"], check=True)
    with controller.demanding(node_a=KEY, node_b=KEY):
        controller.refused("none of its 1 signatures was made with a key of the policy", name=name)
        controller.sign(name, KEY)
        # And the registry sends another text than the one that it names.
        for path in controller.directory.glob("storage/docker/registry/v2/blobs/sha256/*/*/data"):
            path.write_bytes(path.read_bytes().replace(b'"optional":', b'"0ptional":'))
        controller.refused("on the controller: a signed text: content has digest sha256:", name=name)


@pytest.mark.parametrize("form", ["layout", "archive"])
def test_an_archive_brings_its_signatures(controller: Controller, form: str) -> None:
    name = controller.push(f"beside-{form}:1", LAYERS[:2])

    def carried(to: str, digest: str = "") -> Path:
        carry(name, controller.directory / to, digest)
        return controller.directory / to

    def packed(layout: Path) -> str:
        if form == "layout":
            return str(layout)
        subprocess.run(["tar", "-C", layout, "-cf", f"{layout}.tar", "oci-layout", "index.json", "blobs"], check=True)
        return f"{layout}.tar"

    unsigned = carried("unsigned")
    digest = controller.sign(name, KEY)
    signed, altered, forged = (carried(to, digest) for to in ("signed", "altered", "forged"))
    forge(altered, digests=False)
    forge(forged, digests=True)
    with controller.demanding(node_a=KEY, node_b=OTHER):
        controller.refused("it is not signed; sign it", name=name, src=packed(unsigned))
        where = packed(altered)
        controller.refused(f"on the controller: {where}: blobs/sha256/", name=name, src=where)
        controller.refused("none of its 1 signatures was made with", name=name, src=packed(forged))
        played = controller.transfer(name=name, src=packed(signed), failing=True)
        assert played.told.keys() == {"node-a"} and played.told["node-a"]["sent"]["blobs"] == 2
        assert played.told["node-a"]["image"]["digest"] == digest
        assert "none of its 1 signatures was made with a key of the policy" in played.output
        assert blobs_of(controller.hosts.node("node-b")) == set()
