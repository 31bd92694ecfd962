# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bills of materials as documents: SPDX 2.3 and CycloneDX 1.6, both in JSON.

The same image gives the same bytes: nothing random, and the time is that of the image's making.
"""

from __future__ import annotations

import hashlib
import json
import re
import urllib.parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...model.image import Image
    from .packages import Package, System

FORMATS = ("spdx-json", "cyclonedx-json")
_EPOCH = "1970-01-01T00:00:00Z"
_NAMESPACE = "https://stowage.invalid/spdx"  # RFC 6761: names nothing on the net, as SPDX wants of a mere identifier


def make_document(image: Image, system: System, kind: str) -> bytes:
    """The document of ``kind``, one of FORMATS, for an image of which ``system`` is known."""
    document = (_spdx if kind == "spdx-json" else _cyclonedx)(image, system)
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def package_url(package: Package, system: System) -> str:
    """The purl of a package (github.com/package-url/purl-spec: types deb, apk, rpm)."""
    epoch, _colon, version = package.version.rpartition(":") if package.kind == "rpm" else ("", "", package.version)
    qualifiers = {
        "arch": package.architecture,
        "distro": f"{system.id}-{system.version}" if system.id and system.version else system.id,
        "epoch": epoch,
    }
    told = "&".join(f"{key}={_quoted(value)}" for key, value in sorted(qualifiers.items()) if value)
    vendor = f"{_quoted(system.id)}/" if system.id else ""
    name = package.name.lower() if package.kind in ("deb", "apk") else package.name
    return f"pkg:{package.kind}/{vendor}{_quoted(name)}@{_quoted(version)}" + (f"?{told}" if told else "")


def image_url(image: Image) -> str:
    """The purl of an image, type oci: its last name and digest, and where it is from."""
    repository, _at, _digest = image.name.partition("@")
    if ":" in repository.rpartition("/")[2]:
        repository = repository.rpartition(":")[0]
    last = repository.rpartition("/")[2].lower()
    return f"pkg:oci/{_quoted(last)}@{_quoted(image.digest)}?repository_url={_quoted(repository)}"


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="-._~")


def _created(image: Image) -> str:
    """In whole seconds of UTC, as both formats want it."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?Z", image.created)
    return f"{found[1]}Z" if found else _EPOCH


def _tool() -> str:
    return "stowage.engine"


def _spdx(image: Image, system: System) -> dict[str, Any]:
    algorithm, _colon, value = image.digest.partition(":")
    packages = [_spdx_package(package, system, number) for number, package in enumerate(system.packages)]
    root = {
        "SPDXID": "SPDXRef-Image",
        "name": image.name,
        "versionInfo": image.digest,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "primaryPackagePurpose": "CONTAINER",
        "checksums": [{"algorithm": algorithm.upper(), "checksumValue": value}],
        "externalRefs": [_reference(image_url(image))],
    }
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": image.name,
        "documentNamespace": f"{_NAMESPACE}/{image.digest.replace(':', '-')}",
        "creationInfo": {"created": _created(image), "creators": [f"Tool: {_tool()}"]},
        "packages": [root, *packages],
        "relationships": [
            _relationship("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image"),
            *(_relationship("SPDXRef-Image", "CONTAINS", package["SPDXID"]) for package in packages),
        ],
    }


def _spdx_package(package: Package, system: System, number: int) -> dict[str, Any]:
    told: dict[str, Any] = {
        # Names have characters that identifiers may not; the number keeps them apart.
        "SPDXID": f"SPDXRef-{number}-{re.sub('[^A-Za-z0-9.-]', '-', package.name)}",
        "name": package.name,
        "versionInfo": package.version,
        "supplier": _supplier(package.maintainer),
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [_reference(package_url(package, system))],
    }
    if package.license:
        told["licenseComments"] = f"The package says: {package.license}"
    if package.source:
        told["sourceInfo"] = f"built of {package.source} {package.source_version}".rstrip()
    if package.summary:
        told["summary"] = package.summary
    if _is_url(package.homepage):
        told["homepage"] = package.homepage
    return told


def _supplier(maintainer: str) -> str:
    """``Organization: name (address)``, of ``name <address>``."""
    name, _open, address = maintainer.partition("<")
    if not name.strip():
        return "NOASSERTION"
    address = address.partition(">")[0]
    return f"Organization: {name.strip()}" + (f" ({address})" if address else "")


def _reference(url: str) -> dict[str, str]:
    return {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": url}


def _relationship(element: str, kind: str, related: str) -> dict[str, str]:
    return {"spdxElementId": element, "relationshipType": kind, "relatedSpdxElement": related}


def _is_url(text: str) -> bool:
    return re.fullmatch(r"https?://[^\s<>\"{}|\\^`]+", text) is not None


def _cyclonedx(image: Image, system: System) -> dict[str, Any]:
    components = {package_url(package, system): package for package in system.packages}
    root = {
        "type": "container",
        "bom-ref": image_url(image),
        "name": image.name,
        "version": image.digest,
        "purl": image_url(image),
    }
    found = [_component(url, package) for url, package in components.items()]
    if system.id:
        place = {
            "type": "operating-system",
            "bom-ref": f"os:{system.id}",
            "name": system.id,
            "description": system.name,
        }
        found.append({**place, **({"version": system.version} if system.version else {})})
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{_uuid(image.digest)}",
        "version": 1,
        "metadata": {
            "timestamp": _created(image),
            "tools": {"components": [{"type": "application", "name": _tool()}]},
            "component": root,
        },
        "components": found,
        "dependencies": [{"ref": image_url(image), "dependsOn": sorted(components)}],
    }


def _component(url: str, package: Package) -> dict[str, Any]:
    told: dict[str, Any] = {
        "type": "library",
        "bom-ref": url,
        "name": package.name,
        "version": package.version,
        "purl": url,
    }
    if package.maintainer:
        told["publisher"] = package.maintainer
    if package.summary:
        told["description"] = package.summary
    if package.license:
        told["licenses"] = [{"license": {"name": package.license}}]
    if _is_url(package.homepage):
        told["externalReferences"] = [{"type": "website", "url": package.homepage}]
    if package.source:
        value = f"{package.source} {package.source_version}".rstrip()
        told["properties"] = [{"name": "stowage:source-package", "value": value}]
    return told


def _uuid(digest: str) -> str:
    """A UUID that the digest alone decides: version 8 of RFC 9562."""
    value = hashlib.sha256(f"cyclonedx {digest}".encode()).hexdigest()
    variant = "89ab"[int(value[16], 16) & 3]
    return f"{value[:8]}-{value[8:12]}-8{value[13:16]}-{variant}{value[17:20]}-{value[20:32]}"
