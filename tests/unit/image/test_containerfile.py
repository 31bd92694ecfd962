# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containerfiles: what Dockerfile's reference says of lines, words and instructions, case by case."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidContainerfile
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.containerfile import (
    parse_containerfile,
    parse_trigger,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.containerfile_instructions import (
    Command,
    Containerfile,
    Copy,
    From,
    Healthcheck,
    Onbuild,
    Pairs,
    Run,
    Words,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.containerfile_words import (
    expand,
    expand_words,
    split_words,
)


def parse(text: str) -> Containerfile:
    return parse_containerfile(text, "Containerfile")


def parse_one(text: str):
    """The first instruction of a stage, on line 2."""
    return parse(f"FROM scratch\n{text}\n").stages[0].instructions[0]


# Lines ----------------------------------------------------------------------------------------------


def test_directives_come_first_and_only_there():
    found = parse("# syntax=docker/dockerfile:1\n# escape=`\n# check=skip=all\nFROM a `\n AS b\nRUN a\\\nRUN b")
    assert found.directives == {"syntax": "docker/dockerfile:1", "escape": "`", "check": "skip=all"}
    assert found.stages[0].name == "b"
    assert [step.text for step in found.stages[0].instructions] == ["RUN a\\", "RUN b"]
    assert parse("# a comment\n# escape=`\nFROM a \\\nAS b").stages[0].name == "b"
    assert parse("#unknown=1\n#escape=`\nFROM a \\\nAS b").stages[0].name == "b"
    assert parse("\ufeffFROM a\r\nRUN b\r\n").stages[0].instructions[0].text == "RUN b"


def test_comments_and_empty_lines_within_an_instruction_do_not_count():
    step = parse_one("RUN one \\\n  # comment\n\n   two \\  \n# more\n  three # kept\nRUN next")
    assert step.words == ("one    two   three # kept",)
    assert step.line == 2


def test_a_doubled_escape_is_no_continuation():
    first, second = parse("FROM a\nRUN x\\\\\nRUN y").stages[0].instructions
    assert (first.words, second.words, second.line) == (("x\\\\",), ("y",), 3)


def test_heredocs():
    run = parse_one("RUN <<EOF\necho a\n# kept\n\nEOF\nRUN next")
    assert run.words == ("<<EOF",)
    assert run.heredocs[0].content == "echo a\n# kept\n\n"
    copy = parse_one("COPY <<-one <<'two' a.txt /dest/\n\t\t$A\n\tone\n\t$B\ntwo\nRUN x")
    assert [(d.name, d.expands, d.chomped) for d in copy.heredocs] == [("one", True, "$A\n"), ("two", False, "\t$B\n")]
    assert (copy.sources, copy.dest) == (("a.txt",), "/dest/")
    assert parse_one("RUN cat 3<<EOF && echo $((1<<2)) <<<here\nx\nEOF").heredocs[0].name == "EOF"
    assert parse_one("RUN echo $((1 << 2))").heredocs == ()
    assert parse_one('RUN ["cat", "<<EOF"]').heredocs == ()
    assert parse_one("RUN [ -f x ] && cat <<EOF\ny\nEOF").heredocs[0].content == "y\n"
    assert parse_one('RUN --mount=type=tmpfs,target="/a b" <<EOF\ny\nEOF').heredocs[0].content == "y\n"
    assert parse_one("CMD <<EOF").words == ("<<EOF",)
    assert parse_one("ONBUILD RUN <<EOF\nx\nEOF").trigger == "RUN <<EOF\nx\nEOF"


# Words: bash is the oracle where it says the same -----------------------------------------------------

VARIABLES = {"x": "value", "empty": "", "path": "/usr/local/lib.tar.gz", "s": "a b", "star": "a*c"}
EXPANSIONS = {
    "$x": "value",
    "${x}y": "valuey",
    "$xy": "",
    "$empty.": ".",
    "\\$x": "$x",
    "'$x'": "$x",
    '"$x y"': "value y",
    '"\\$x\\"\\a"': '$x"\\a',
    "a\\ b": "a b",
    "${none:-d}": "d",
    "${none-d}": "d",
    "${empty:-d}": "d",
    "${empty-d}": "",
    "${none:-${x}}": "value",
    "${none:-'$x'}": "$x",
    "${x:+d}": "d",
    "${empty:+d}": "",
    "${empty+d}": "d",
    "${none+d}": "",
    "${path#*/}": "usr/local/lib.tar.gz",
    "${path##*/}": "lib.tar.gz",
    "${path%.*}": "/usr/local/lib.tar",
    "${path%%.*}": "/usr/local/lib",
    "${path%none}": "/usr/local/lib.tar.gz",
    "${path/l/L}": "/usr/Local/lib.tar.gz",
    "${path//l/L}": "/usr/LocaL/Lib.tar.gz",
    "${path//\\//-}": "-usr-local-lib.tar.gz",
    "${path/l?c/X}": "/usr/Xal/lib.tar.gz",
    "${star#a\\*}": "c",
    "${none#x}": "",
}


@pytest.mark.parametrize(("text", "expected"), EXPANSIONS.items(), ids=EXPANSIONS.keys())
def test_expansion_is_a_shells(text, expected):
    assert expand(text, VARIABLES) == expected
    argv = ["bash", "-c", f"printf %s {text}"] if " " not in text or '"' in text or "\\ " in text else None
    if argv:
        shell = subprocess.run(argv, env={**os.environ, **VARIABLES}, capture_output=True, text=True, check=True)
        assert shell.stdout == expected


def test_expansion_with_another_escape():
    assert expand("`$x\\$x", VARIABLES, "`") == "$x\\value"


@pytest.mark.parametrize("text", ["'a", '"a', "${x", "${}", "${:-a}", "${x:/}", "${x!a}", "${none:?it is needed}"])
def test_malformed_words(text):
    with pytest.raises(ValueError, match=r"."):
        expand(text, VARIABLES)


def test_splitting():
    assert split_words("a 'b c' d\\ e \"f g\"h") == ["a", "'b c'", "d\\ e", '"f g"h']
    assert expand_words('$s "$s"', VARIABLES) == ["a", "b", "a b"]


# Instructions -----------------------------------------------------------------------------------------


def test_from():
    found = parse("ARG V=1 W\nFROM --platform=$BUILDPLATFORM a:$V AS Base\nFROM base\nfrom scratch as x.y-z_1")
    assert found.arguments == (Pairs("ARG", 1, "ARG V=1 W", (("V", "1"), ("W", None))),)
    bases = [stage.base for stage in found.stages]
    assert [(b.image, b.platform, b.alias) for b in bases] == [
        ("a:$V", "$BUILDPLATFORM", "base"),
        ("base", "", ""),
        ("scratch", "", "x.y-z_1"),
    ]
    assert isinstance(bases[0], From)
    assert [stage.told for stage in found.stages] == ["base", "stage 1", "x.y-z_1"]


def test_run():
    assert parse_one("RUN a  'b'").words == ("a  'b'",)
    assert parse_one("RUN a").shell
    run = parse_one(
        "RUN --mount=type=cache,target=/c,sharing=locked,mode=0700 --mount=type=bind,from=x,source=/s,dst=/t,rw "
        '--network=none --security=insecure ["a", "b c"]'
    )
    assert isinstance(run, Run)
    assert (run.words, run.shell, run.network, run.security) == (("a", "b c"), False, "none", "insecure")
    assert [mount.kind for mount in run.mounts] == ["cache", "bind"]
    assert run.mounts[0].options == {"target": "/c", "sharing": "locked", "mode": "0700"}
    assert run.mounts[1].options == {"from": "x", "source": "/s", "target": "/t", "rw": "true"}
    assert run.mounts[1].flag("rw")
    assert not run.mounts[1].flag("ro")
    assert parse_one("RUN --mount=target=/x,ro ls").mounts[0].kind == "bind"
    assert parse_one("RUN --mount=type=secret,id=a,required ls").mounts[0].flag("required")
    assert parse_one("RUN --mount='type=tmpfs,\"target=/a,b\"' ls").mounts[0].options == {"target": "/a,b"}
    assert parse_one('RUN ["a", 1]').shell
    assert parse_one("RUN -- --odd").words == ("--odd",)


def test_copy_and_add():
    copy = parse_one("COPY --from=0 --chown=a:b --chmod=0755 --link --parents --exclude=*.o --exclude=x a 'b c' /d/")
    assert isinstance(copy, Copy)
    assert (copy.origin, copy.chown, copy.chmod, copy.link, copy.parents) == ("0", "a:b", "0755", True, True)
    assert (copy.exclude, copy.sources, copy.dest) == (("*.o", "x"), ("a", "'b c'"), "/d/")
    assert parse_one('COPY ["a b", "/c d"]').sources == ("a b",)
    add = parse_one("ADD --checksum=sha256:00 --unpack=false --link=false https://x/y /z")
    assert (add.checksum, add.unpack, add.link) == ("sha256:00", False, False)
    assert parse_one("ADD a b").unpack is None


def test_pairs():
    assert parse_one("ENV a=1 b='2 3' c=\"4\"").pairs == (("a", "1"), ("b", "'2 3'"), ("c", '"4"'))
    assert parse_one("ENV a  b=c  d").pairs == (("a", "b=c  d"),)
    assert parse_one('LABEL "com.example"="x y" b=').pairs == (('"com.example"', '"x y"'), ("b", ""))
    assert parse_one("ARG a b=c").pairs == (("a", None), ("b", "c"))


def test_the_rest():
    assert parse_one('CMD ["a"]') == Command("CMD", 2, 'CMD ["a"]', ("a",))
    assert parse_one("CMD []").words == ()
    assert parse_one("entrypoint a b") == Command("ENTRYPOINT", 2, "entrypoint a b", ("a b",), True)
    assert parse_one('SHELL ["/bin/bash", "-c"]').words == ("/bin/bash", "-c")
    assert parse_one("EXPOSE 80 $p/udp") == Words("EXPOSE", 2, "EXPOSE 80 $p/udp", ("80", "$p/udp"))
    assert parse_one('VOLUME ["/a b", "/c"]').words == ("/a b", "/c")
    assert parse_one("VOLUME /a /b").words == ("/a", "/b")
    assert parse_one("WORKDIR /a b").words == ("/a b",)
    assert parse_one("USER a:b").words == ("a:b",)
    assert parse_one("STOPSIGNAL SIGTERM").words == ("SIGTERM",)
    assert parse_one("MAINTAINER A <a@b>").words == ("A <a@b>",)
    assert parse_one("ONBUILD RUN x") == Onbuild("ONBUILD", 2, "ONBUILD RUN x", "RUN x")
    assert parse_one("HEALTHCHECK NONE").disabled
    check = parse_one("HEALTHCHECK --interval=1m30s --timeout=.5s --retries=3 CMD curl x")
    assert isinstance(check, Healthcheck)
    assert (check.interval, check.timeout, check.retries, check.shell) == (90 * 10**9, 5 * 10**8, 3, True)
    assert isinstance(parse_trigger("COPY . /x", "the base image", "\\"), Copy)


BAD = {
    "": (0, "no FROM"),
    "RUN x": (1, "in front of the first FROM"),
    "FROM": (1, "FROM lacks its arguments"),
    "FROM a b": (1, "FROM image AS name"),
    "FROM a AS 1x": (1, "stage name"),
    "FROM a\n\n# c\nRUNN x": (4, "'RUNN' is unknown; is RUN meant?"),
    "FROM a\nXYZZY": (2, "'XYZZY' is unknown"),
    "FROM --platfrom=x a": (1, "no flag --platfrom; it has --platform"),
    "FROM a\nRUN \\\n  --mount=type=x,target=/a \\\n  ls": (2, "type 'x' is unknown"),
    "FROM a\nRUN --mount=type=ssh ls": (2, "ssh is not supported"),
    "FROM a\nRUN --mount=type=cache ls": (2, "target is missing"),
    "FROM a\nRUN --mount=type=tmpfs,target=/a,from=b ls": (2, "no option 'from'"),
    "FROM a\nRUN --mount=type=bind,from=$x,target=/a ls": (2, "no variables"),
    "FROM a\nRUN --mount=type=secret ls": (2, "needs an id"),
    "FROM a\nRUN --mount=type=cache,target=/a,sharing=x ls": (2, "sharing"),
    "FROM a\nRUN --mount=type=cache,target=/a,target=/b ls": (2, "twice"),
    "FROM a\nRUN --network=bridge ls": (2, "--network=bridge"),
    "FROM a\nRUN --security=x ls": (2, "--security=x"),
    "FROM a\nRUN --device=x ls": (2, "not supported"),
    "FROM a\nRUN []": (2, "empty list"),
    "FROM a\nRUN <<EOF\nx": (2, "no line is 'EOF'"),
    "FROM a\nCOPY x": (2, "at least one source"),
    "FROM a\nCOPY --from x /y": (2, "--from lacks a value"),
    "FROM a\nCOPY --from=a --from=b x /y": (2, "twice"),
    "FROM a\nCOPY --from=$a x /y": (2, "no variables"),
    "FROM a\nCOPY --link=x x /y": (2, "true or false"),
    "FROM a\nCOPY --checksum=x x /y": (2, "no flag --checksum"),
    "FROM a\nADD --from=x x /y": (2, "no flag --from"),
    "FROM a\nENV a": (2, "lacks a value"),
    "FROM a\nENV a=1 b": (2, "no name=value"),
    "FROM a\nLABEL ''=1": (2, "no name=value"),
    "FROM a\nARG 1a=b": (2, "no name of a variable"),
    "FROM a\nSHELL /bin/sh": (2, "takes a list"),
    "FROM a\nVOLUME []": (2, "empty"),
    "FROM a\nONBUILD ONBUILD RUN x": (2, "ONBUILD ONBUILD"),
    "FROM a\nONBUILD FROM x": (2, "ONBUILD FROM"),
    "FROM a\nONBUILD FOO x": (2, "'FOO' is unknown"),
    "FROM a\nHEALTHCHECK x": (2, "NONE alone"),
    "FROM a\nHEALTHCHECK --interval=1x CMD x": (2, "no time"),
    "FROM a\nHEALTHCHECK --interval=1us CMD x": (2, "less than a millisecond"),
    "FROM a\nHEALTHCHECK --retries=-1 CMD x": (2, "no number"),
    "FROM a\nCOPY --chown='a x /y": (2, "quote"),
    "# escape=x\nFROM a": (1, "escape"),
    "# escape=`\n# escape=`\nFROM a": (2, "twice"),
}


@pytest.mark.parametrize(("text", "expected"), BAD.items(), ids=BAD.keys())
def test_errors_have_file_and_line(text, expected):
    line, why = expected
    with pytest.raises(InvalidContainerfile) as raised:
        parse(text)
    assert raised.value.line == line
    assert str(raised.value).startswith(f"Containerfile:{line}: " if line else "Containerfile: ")
    assert why in str(raised.value)


KEYWORDS = ["FROM", "RUN", "COPY", "ADD", "ENV", "ARG", "ONBUILD", "HEALTHCHECK", "CMD", "SHELL", "LABEL", "VOLUME"]
SIGNS = ["<<EOF", "<<-'E'", "EOF", "--mount=", "type=cache,", "--from=", "${", "\ufeff", "\x00", "é"]
PIECES = st.sampled_from([*KEYWORDS, *SIGNS, *"#\\\n=$}:-%/[]\"',\t`\r"])


@given(st.lists(PIECES | st.text(max_size=3), max_size=20))
def test_whatever_is_written_is_parsed_or_refused(pieces):
    text = "FROM a\n" + " ".join(pieces)
    try:
        parsed = parse(text)
    except InvalidContainerfile as error:
        assert error.line <= text.count("\n") + 1
    else:
        assert parsed.stages


@given(st.lists(st.sampled_from([*"${}x:-+?#%/\\'\"*a"]), max_size=12).map("".join))
def test_whatever_a_word_is_it_is_expanded_or_refused(text):
    try:
        assert isinstance(expand(text, VARIABLES), str)
    except ValueError as error:
        assert str(error)
