# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A seccomp profile in a file of the host, in docker's form or OCI's: read, tried, and fitted to a container."""

from __future__ import annotations

import hashlib
import json
import os

from ..errors import InvalidOption
from ..linux.seccomp import compile_filter
from ..linux.seccomp_docker import oci_seccomp
from ..linux.seccomp_profile import native_architecture, parse_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def read_profile(path: str) -> tuple[Any, str]:
    """A seccomp profile of the host and the digest of its text; that it can be compiled is seen to."""
    option = "security_opts: seccomp"
    try:
        with open(path, "rb") as file:
            content = file.read()
        profile = json.loads(content)
    except OSError as error:
        raise InvalidOption(option, path, f"the path of a profile on the host ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InvalidOption(option, path, f"a profile in JSON ({error})") from error
    try:
        fitted = fit_profile(profile, ())
        compile_filter(fitted)
        parse_flags(fitted)
    except InvalidOption as error:
        raise InvalidOption(f"{option}: {path}: {error.option}", error.value, error.expected) from error
    return profile, "sha256:" + hashlib.sha256(content).hexdigest()


def fit_profile(profile: Any, capabilities: Sequence[str]) -> dict[str, Any]:
    """``linux.seccomp`` for a container with these capabilities on this host."""
    version = [int("".join(filter(str.isdigit, part)) or 0) for part in os.uname().release.split(".")[:2]]
    kernel = (version[0], version[1])
    return oci_seccomp(profile, capabilities=capabilities, architecture=native_architecture(), kernel=kernel)
