# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nftables: apply a ruleset in one transaction, and read a table: nft(8), libnftables-json(5).

libnftables is called in this process where it is installed (under a millisecond); the program ``nft`` is run where
only that is. Both come with the package nftables or its libraries.
"""

from __future__ import annotations

import ctypes
import json
import shutil

from ..errors import EngineError, ProgramFailed, Unsupported
from .process import run_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LIBRARY = "libnftables.so.1"
# nftables/libnftables.h
_NFT_CTX_DEFAULT = 0
_NFT_CTX_OUTPUT_JSON = 1 << 4


class _Refused(Exception):
    """nft said no, in these words."""


def apply_ruleset(ruleset: str) -> None:
    """Apply ``ruleset`` (nft's own syntax): all of it, or nothing at all. Raises EngineError."""
    try:
        _run(ruleset, as_json=False)
    except _Refused as error:
        raise EngineError(f"nft refused the ruleset: {error}; is nf_tables in this kernel, or its modules?") from error


def list_table(family: str, name: str) -> list[dict[str, Any]] | None:
    """The objects of a table as libnftables-json(5) has them; None where there is no such table, or no nft at all."""
    try:
        tables = json.loads(_run(f"list tables {family}", as_json=True) or '{"nftables": []}')["nftables"]
        if not any(entry.get("table", {}).get("name") == name for entry in tables):
            return None
        objects: list[dict[str, Any]] = json.loads(_run(f"list table {family} {name}", as_json=True))["nftables"]
    except Unsupported:
        return None
    except _Refused as error:
        raise EngineError(f"nft cannot list the table {family} {name}: {error}") from error
    return objects


def _run(command: str, *, as_json: bool) -> str:
    library = _library()
    if library is not None:
        return _run_in_library(library, command, as_json=as_json)
    if shutil.which("nft") is None:
        raise Unsupported("neither libnftables nor the program nft is on this host; install the package nftables")
    try:
        return run_program(["nft", *(["-j"] if as_json else []), "-f", "-"], stdin=command.encode()).decode()
    except ProgramFailed as error:
        raise _Refused(str(error)) from error


def _run_in_library(library: ctypes.CDLL, command: str, *, as_json: bool) -> str:
    # A context has a socket of its own: it belongs to the network namespace that this thread is in now.
    context = ctypes.c_void_p(library.nft_ctx_new(_NFT_CTX_DEFAULT))
    if not context:
        raise _Refused("no memory for libnftables")
    try:
        library.nft_ctx_buffer_output(context)
        library.nft_ctx_buffer_error(context)
        if as_json:
            library.nft_ctx_output_set_flags(context, _NFT_CTX_OUTPUT_JSON)
        failed = library.nft_run_cmd_from_buffer(context, command.encode())
        if failed:
            message = (library.nft_ctx_get_error_buffer(context) or b"").decode(errors="replace")
            raise _Refused((message.strip().splitlines() or ["no message"])[0])
        return (library.nft_ctx_get_output_buffer(context) or b"").decode()
    finally:
        library.nft_ctx_free(context)


def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    return library
