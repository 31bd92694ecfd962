# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures in a real registry: skopeo verifies ours, we its own; what does not meet a policy never comes."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from nacl.secret import SecretBox

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    EngineError,
    RegistryError,
    Unsupported,
    Untrusted,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.host import Host
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.archive.load import load_images, resolve_load
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.manifest import OCI_INDEX, OCI_MANIFEST
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.platform import host_architecture
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.pull import pull_image, resolve_remote
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.client import Registry as Client
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.upload import Blob
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import Store
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust.policy import apply_policy
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust.signatures import signature_tag
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.reference import parse_reference
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.trust import (
    REJECT,
    SIGNED,
    Identity,
    Policy,
    Requirement,
    Rule,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.image import plan_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.signing import ImageSigner, verify_image

from .carried import REF_NAME, carry, entries, forge, write_entries
from .conftest import Registry, digest_of, layer_of, member, run

pytestmark = pytest.mark.root

INSECURE = Access(insecure=True)
PASSPHRASE = "open sesame"


class Key:
    """A pair of keys as cosign makes them: ECDSA on P-256, the private one in PKCS #8 and in cosign's own envelope."""

    def __init__(self) -> None:
        private = ec.generate_private_key(ec.SECP256R1())
        kind = serialization.PrivateFormat.PKCS8
        self.pem = private.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()).decode()
        self.public = (
            private.public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode()
        )
        der = private.private_bytes(serialization.Encoding.DER, kind, serialization.NoEncryption())
        salt, nonce = os.urandom(32), os.urandom(24)
        box = SecretBox(Scrypt(salt, 32, 32768, 8, 1).derive(PASSPHRASE.encode()))
        costs = {"N": 32768, "r": 8, "p": 1}
        envelope = {
            "kdf": {"name": "scrypt", "params": costs, "salt": base64.b64encode(salt).decode()},
            "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
            "ciphertext": base64.b64encode(box.encrypt(der, nonce).ciphertext).decode(),
        }
        encoded = base64.b64encode(json.dumps(envelope).encode()).decode()
        label = "ENCRYPTED COSIGN PRIVATE KEY"
        self.cosign = f"-----BEGIN {label}-----\n{encoded}\n-----END {label}-----\n"


KEY, OTHER = Key(), Key()


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("signed")
    layout = str(directory / "layout")
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", f"{layout}:x")
    (directory / "layer.tar").write_bytes(layer_of(member("a/one")))
    run("umoci", "raw", "add-layer", "--image", f"{layout}:x", str(directory / "layer.tar"))
    return layout


@pytest.fixture
def skopeo(tmp_path: Path, layout: str, registry: Registry) -> list[str]:
    """skopeo, told to store signatures as attachments of the image and to look for them there."""
    program = os.environ.get("STOWAGE_SKOPEO", "skopeo")
    probe = [program, "copy", "--dest-tls-verify=false", *signing_options(tmp_path), f"oci:{layout}:x"]
    probe.append(f"docker://{registry.host}/trust/probe:1")
    told = subprocess.run(probe, check=False, capture_output=True, text=True, timeout=60)
    if "sigstore disabled" in told.stderr:
        pytest.skip("Debian 12 builds its skopeo without sigstore; STOWAGE_SKOPEO names another")
    directory = tmp_path / "registries.d"
    directory.mkdir()
    (directory / "default.yaml").write_text("default-docker:\n  use-sigstore-attachments: true\n")
    return [program, "--registries.d", str(directory)]


def signing_options(directory: Path) -> list[str]:
    """What has skopeo sign with the key."""
    (directory / "cosign.key").write_text(KEY.cosign)
    (directory / "passphrase").write_text(PASSPHRASE)
    key, passphrase = str(directory / "cosign.key"), str(directory / "passphrase")
    return ["--sign-by-sigstore-private-key", key, "--sign-passphrase-file", passphrase]


def push(layout: str, registry: Registry, name: str) -> str:
    run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout}:x", f"docker://{registry.host}/{name}")
    return f"{registry.host}/{name}"


def signer(name: str, key: Key = KEY, *, identity: str = "", referrer: bool = False) -> ImageSigner:
    return ImageSigner(name, INSECURE, key.pem, "", identity=identity, referrer=referrer)


def signed_by(*keys: Key, identity: str = "repository") -> Requirement:
    return Requirement(SIGNED, tuple(key.public for key in keys), Identity(identity))


def demand(paths: Paths, registry: Registry, *requirements: Requirement) -> None:
    apply_policy(paths, Policy((Requirement(REJECT),), (Rule(registry.host, requirements),)))


def pull(paths: Paths, name: str, verified: str = "") -> str:
    return pull_image(paths, Image(name=name, access=INSECURE, verified=verified)).digest


def refused(paths: Paths, name: str, why: str) -> None:
    """In check mode and really, and nothing of the image has touched the store."""
    wanted = Image(name=name, access=INSECURE)
    for act in (resolve_remote, pull_image):
        with pytest.raises(Untrusted, match=why):
            act(paths, wanted)
    nothing_stored(paths)


def nothing_stored(paths: Paths) -> None:
    blobs = Path(paths.images) / "blobs"
    assert [path for path in blobs.rglob("*") if path.is_file()] == []
    assert not os.path.exists(paths.layers) or os.listdir(paths.layers) == []


@pytest.mark.parametrize("referrer", [False, True])
def test_a_signed_image_is_pulled_and_another_is_not(
    paths: Paths, layout: str, registry: Registry, referrer: bool
) -> None:
    name = push(layout, registry, f"trust/web-{referrer}:1".lower())
    demand(paths, registry, signed_by(KEY))
    refused(paths, name, "it is not signed; sign it")
    signing = signer(name, OTHER, referrer=referrer)
    assert signing.observe() is None
    signing.sign({"by": "another"})
    assert signing.observe() == signing.wanted
    refused(paths, name, "none of its 1 signatures was made with a key of the policy")
    signer(name, referrer=referrer).sign({})
    assert pull(paths, name) == signing.wanted.digest
    assert observe_images(paths)[name].missing == ()
    demand(paths, registry, signed_by(KEY), signed_by(OTHER))
    assert pull(paths, name) == signing.wanted.digest
    assert verify_image(name, INSECURE, signed_by(KEY)) == signing.wanted.digest


def test_a_bundle_of_cosign_3_in_a_registry_is_told_of(paths: Paths, layout: str, registry: Registry) -> None:
    name = push(layout, registry, "trust/bundle:1")
    digest = signer(name).wanted.digest
    empty = b"{}"
    client = Client(parse_reference("name", name), access=INSECURE)
    client.put_blob(Blob(digest_of(empty), 2, lambda: io.BytesIO(empty)))
    blob = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(empty), "size": 2}
    subject = {"mediaType": OCI_MANIFEST, "digest": digest, "size": registry.blob(digest).stat().st_size}
    kind = "application/vnd.dev.sigstore.bundle.v0.3+json"
    bundle = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": kind, "config": blob, "subject": subject}
    content = json.dumps({**bundle, "layers": [{**blob, "mediaType": kind}]}).encode()
    client.put_manifest(digest_of(content), OCI_MANIFEST, content)
    demand(paths, registry, signed_by(KEY))
    refused(paths, name, "cosign 3.*not read here.*--new-bundle-format=false")


def test_what_the_policy_rejects_is_not_even_asked_for(paths: Paths) -> None:
    apply_policy(paths, Policy((Requirement(REJECT),)))
    for act in (resolve_remote, pull_image):
        with pytest.raises(Untrusted, match="the policy rejects it"):
            act(paths, Image(name="127.0.0.1:1/nobody/there:1", access=INSECURE))


def test_a_signature_holds_for_its_digest_and_name_alone(paths: Paths, layout: str, registry: Registry) -> None:
    name = push(layout, registry, "trust/first:1")
    first = signer(name)
    first.sign({})
    tag = signature_tag(first.wanted.digest)
    # Another image, with the signatures of the first put where its own would be.
    run("umoci", "config", "--image", f"{layout}:x", "--tag", "y", "--config.user", "nobody")
    other = f"{registry.host}/trust/first:2"
    run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout}:y", f"docker://{other}")
    digest = signer(other).wanted.digest
    source = f"docker://{registry.host}/trust/first:{tag}"
    tls = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    run("skopeo", "copy", *tls, source, f"docker://{registry.host}/trust/first:{signature_tag(digest)}")
    demand(paths, registry, signed_by(KEY))
    refused(paths, other, f"for another image, {first.wanted.digest}")
    # The first image under another repository's name.
    moved = push(layout, registry, "trust/moved:1")
    run("skopeo", "copy", *tls, source, f"docker://{registry.host}/trust/moved:{tag}")
    refused(paths, moved, "it was signed as .*trust/first")


def test_a_tampered_text_is_refused(paths: Paths, layout: str, registry: Registry) -> None:
    name = push(layout, registry, "trust/tampered:1")
    signing = signer(name, identity=name)
    signing.sign({})
    url = f"docker://{registry.host}/trust/tampered:{signature_tag(signing.wanted.digest)}"
    manifest = json.loads(run("skopeo", "inspect", "--raw", "--tls-verify=false", url))
    path = registry.blob(manifest["layers"][0]["digest"])
    path.write_bytes(path.read_bytes().replace(b":1", b":2"))
    demand(paths, registry, signed_by(KEY))
    for act in (resolve_remote, pull_image):
        with pytest.raises(EngineError):
            act(paths, Image(name=name, access=INSECURE))
    assert observe_images(paths) == {}


def test_an_index_is_signed_for_all_its_images(paths: Paths, layout: str, registry: Registry, tmp_path: Path) -> None:
    digest = signer(push(layout, registry, "trust/multi:mine")).wanted.digest
    variant = {"variant": "v8"} if host_architecture() == "arm64" else {}
    platform = {"os": "linux", "architecture": host_architecture(), **variant}
    entry = {"mediaType": OCI_MANIFEST, "digest": digest, "size": registry.blob(digest).stat().st_size}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{**entry, "platform": platform}]}
    content = json.dumps(index).encode()
    registry.put_manifest("trust/multi", "all", OCI_INDEX, content)
    name = f"{registry.host}/trust/multi:all"
    demand(paths, registry, signed_by(KEY))
    refused(paths, name, "it is not signed")
    signing = signer(name)
    assert signing.wanted.digest == digest_of(content)
    signing.sign({})
    assert pull(paths, name) == digest
    # And what lacks of it is brought back, though it is fetched by its own digest, which nobody signed.
    host = Host(paths)
    blob = Store(paths.images).read_image(Store(paths.images).names()[name], name)[0].layers[0].digest
    os.unlink(Store(paths.images).blob_path(blob))
    shutil.rmtree(paths.layer(host.observe_images()[name].layers[0]))
    broken = Host(paths)
    broken.apply(plan_image(Image(name, access=INSECURE), broken.observe_images()[name]))
    found = Host(paths).observe_images()
    assert (list(found), found[name].digest, found[name].missing) == ([name], digest, ())
    # And in an archive.
    elsewhere = Paths(str(tmp_path / "elsewhere"), str(tmp_path / "run2"))
    demand(elsewhere, registry, signed_by(KEY))
    carry(name, tmp_path / "carried", signing.wanted.digest, every=True)
    assert [image.digest for image in load_images(elsewhere, str(tmp_path / "carried"))] == [digest]


def unloadable(paths: Paths, archive: Path, name: str, error: type[EngineError], why: str) -> None:
    for act in (resolve_load, load_images):
        with pytest.raises(error, match=why):
            act(paths, str(archive), [name])
    nothing_stored(paths)


@pytest.mark.parametrize("written", ["skopeo", "by-tag", "cosign-save", "oci-archive"])
def test_an_archive_brings_its_signatures(
    paths: Paths, layout: str, registry: Registry, tmp_path: Path, written: str
) -> None:
    """Whatever tool wrote it; the signatures are no image of it."""
    name = push(layout, registry, f"trust/carried-{written}:1")
    signing = signer(name)
    signing.sign({})
    carried = archive = tmp_path / "carried"
    carry(name, carried, signing.wanted.digest)
    image, signatures = entries(carried)
    if written == "by-tag":
        signatures["annotations"][REF_NAME] = signatures["annotations"][REF_NAME].rpartition(":")[2]
    if written == "cosign-save":  # which tells of kinds, and names nothing
        image["annotations"] = {"kind": "dev.cosignproject.cosign/image"}
        signatures["annotations"] = {"kind": "dev.cosignproject.cosign/sigs"}
    write_entries(carried, [image, signatures])
    if written == "oci-archive":
        archive = tmp_path / "carried.tar"
        run("tar", "-C", str(carried), "-cf", str(archive), "oci-layout", "index.json", "blobs")
    demand(paths, registry, signed_by(OTHER))
    unloadable(paths, archive, name, Untrusted, "none of its 1 signatures was made with a key of the policy")
    demand(paths, registry, signed_by(KEY))
    names = [name] if written == "cosign-save" else []
    assert resolve_load(paths, str(archive), names).keys() == {name}
    assert [image.digest for image in load_images(paths, str(archive), names)] == [signing.wanted.digest]
    assert observe_images(paths).keys() == {name}


def test_an_archive_without_signatures_or_with_forged_ones_is_refused(
    paths: Paths, layout: str, registry: Registry, tmp_path: Path
) -> None:
    name = push(layout, registry, "trust/forged:1")
    demand(paths, registry, signed_by(KEY))
    carry(name, tmp_path / "unsigned")
    unloadable(paths, tmp_path / "unsigned", name, Untrusted, "it is not signed; sign it")
    signing = signer(name)
    signing.sign({})
    for digests, error, why in ((False, EngineError, "has digest"), (True, Untrusted, "none of its 1 signatures")):
        carried = tmp_path / f"forged-{digests}"
        carry(name, carried, signing.wanted.digest)
        forge(carried, digests=digests)
        unloadable(paths, carried, name, error, why)


def test_what_the_controller_verified_needs_no_check_here(
    paths: Paths, layout: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = push(layout, registry, "trust/handed:1")
    signer(name).sign({})
    digest = verify_image(name, INSECURE, signed_by(KEY))
    demand(paths, registry, signed_by(KEY))
    monkeypatch.setenv("PATH", "/nonexistent")
    library = "ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust.library.AVAILABLE"
    monkeypatch.setattr(library, False)
    with pytest.raises(Unsupported, match=r"openssl or Python's library cryptography.*image_verify"):
        pull(paths, name)
    with pytest.raises(Unsupported):
        pull(paths, name, verified="sha256:" + "0" * 64)
    assert pull(paths, name, verified=digest) == digest
    apply_policy(paths, Policy((Requirement(REJECT),)))
    with pytest.raises(Untrusted, match="rejects"):
        pull(paths, name, verified=digest)


def test_skopeo_verifies_what_we_signed(tmp_path: Path, layout: str, registry: Registry, skopeo: list[str]) -> None:
    name = push(layout, registry, "trust/ours:1")
    (tmp_path / "key.pub").write_text(KEY.public)
    needs = {
        "type": "sigstoreSigned",
        "keyPath": str(tmp_path / "key.pub"),
        "signedIdentity": {"type": "matchRepository"},
    }
    policy = {"default": [{"type": "reject"}], "transports": {"docker": {registry.host: [needs]}}}
    (tmp_path / "policy.json").write_text(json.dumps(policy))
    copy = [*skopeo, "--policy", str(tmp_path / "policy.json"), "copy", "--src-tls-verify=false"]
    copy += ["--remove-signatures", f"docker://{name}"]
    with pytest.raises(AssertionError, match="signature"):
        run(*copy, f"oci:{tmp_path}/unsigned")
    signer(name, OTHER).sign({})
    with pytest.raises(AssertionError, match="signature"):
        run(*copy, f"oci:{tmp_path}/unsigned")
    signer(name).sign({"build": "7"})
    run(*copy, f"oci:{tmp_path}/signed")


def test_we_verify_what_skopeo_signed(
    paths: Paths, tmp_path: Path, layout: str, registry: Registry, skopeo: list[str]
) -> None:
    name = f"{registry.host}/trust/theirs:1"
    sign = signing_options(tmp_path)
    run(*skopeo, "copy", "--dest-tls-verify=false", *sign, f"oci:{layout}:x", f"docker://{name}")
    for identity in ("repository", "exact"):
        demand(paths, registry, signed_by(KEY, identity=identity))
        assert pull(paths, name) == signer(name).wanted.digest
    demand(paths, registry, signed_by(OTHER))
    with pytest.raises(Untrusted):
        pull(paths, name)


def test_cosigns_own_keys_sign(paths: Paths, layout: str, registry: Registry) -> None:
    name = push(layout, registry, "trust/cosign:1")
    ImageSigner(name, INSECURE, KEY.cosign, PASSPHRASE).sign({})
    demand(paths, registry, signed_by(KEY))
    pull(paths, name)
    with pytest.raises(EngineError, match="private_key") as caught:
        ImageSigner(name, INSECURE, KEY.cosign, "wrong")
    assert KEY.cosign.splitlines()[1][:30] not in str(caught.value)


def test_what_is_not_there_cannot_be_signed(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="404"):
        signer(f"{registry.host}/trust/nothing:1")
