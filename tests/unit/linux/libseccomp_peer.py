"""The same profile compiled by libseccomp, with the rules that runc applies around it.

python3-seccomp belongs to the system's Python, so this file is also a program: /usr/bin/python3 runs it, takes one
JSON request a line and answers with one JSON line.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SYSTEM_PYTHON = "/usr/bin/python3"


def is_available() -> bool:
    """Whether the system's Python can import libseccomp's bindings."""
    argv = [SYSTEM_PYTHON, "-c", "import seccomp"]
    return Path(SYSTEM_PYTHON).exists() and subprocess.run(argv, capture_output=True, check=False).returncode == 0


class Peer:
    """A running libseccomp. Use it in a ``with``."""

    def __enter__(self) -> Peer:
        argv = [SYSTEM_PYTHON, __file__]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=10)

    def _ask(self, **request: Any) -> Any:
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "refused" in answer:
            raise RuntimeError(answer["refused"])
        return answer

    def compile(self, profile: dict[str, Any], native: str = "x86_64") -> bytes:
        """The filter on the machine ``native``, without the ENOSYS rule."""
        return bytes.fromhex(self._ask(profile=profile, native=native)["program"])

    def resolve(self, arch: str, names: list[str]) -> dict[str, int]:
        """The numbers of the names that libseccomp knows on ``arch`` (its spelling, X86_64)."""
        return self._ask(arch=arch, names=names)


def _action(seccomp: Any, action: str, errno_ret: int | None) -> Any:
    name = action[len("SCMP_ACT_") :].replace("KILL_THREAD", "KILL")
    if name in {"ERRNO", "TRACE"}:
        return getattr(seccomp, name)(1 if errno_ret is None else errno_ret)
    return getattr(seccomp, name)


def _compile(seccomp: Any, profile: dict[str, Any], native: str) -> bytes:
    default = _action(seccomp, profile["defaultAction"], profile.get("defaultErrnoRet"))
    syscall_filter = seccomp.SyscallFilter(default)
    if native != "x86_64":
        syscall_filter.remove_arch(seccomp.Arch.X86_64)  # first, as it does not mix byte orders
        syscall_filter.add_arch(getattr(seccomp.Arch, native.upper()))
    for name in profile.get("architectures", []):
        arch = getattr(seccomp.Arch, name[len("SCMP_ARCH_") :])
        if not syscall_filter.exist_arch(arch):
            syscall_filter.add_arch(arch)
    for rule in profile.get("syscalls", []):
        action = _action(seccomp, rule["action"], rule.get("errnoRet"))
        if action == default:
            continue
        arguments = [
            seccomp.Arg(
                entry["index"],
                getattr(seccomp, entry["op"][len("SCMP_CMP_") :]),
                entry["value"],
                entry.get("valueTwo", 0),
            )
            for entry in rule.get("args", [])
        ]
        indices = [entry["index"] for entry in rule.get("args", [])]
        several = len(set(indices)) < len(indices)
        for name in rule["names"]:
            for group in [[argument] for argument in arguments] if several else [arguments]:
                syscall_filter.add_rule(action, name, *group)
    with tempfile.TemporaryFile() as stream:
        syscall_filter.export_bpf(stream)
        stream.seek(0)
        return stream.read()


def _serve() -> None:
    import seccomp

    for line in sys.stdin:
        request = json.loads(line)
        if "profile" in request:
            try:
                answer: Any = {"program": _compile(seccomp, request["profile"], request["native"]).hex()}
            except RuntimeError as error:
                answer = {"refused": str(error)}
        else:
            arch = seccomp.Arch(getattr(seccomp.Arch, request["arch"]))
            answer = {}
            for name in request["names"]:
                number = seccomp.resolve_syscall(arch, name)
                if number >= 0:
                    answer[name] = number
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
