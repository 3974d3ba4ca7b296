"""What GNU tar prints: its messages, and the list of members."""

from __future__ import annotations

import os
import threading

import pytest
from ansible.module_utils.jupyterhub_deploy.backup import tar_output
from ansible.module_utils.jupyterhub_deploy.backup.tar_headers import LONGEST_NAME, MOST_NAMES
from ansible.module_utils.jupyterhub_deploy.backup.tar_output import MemberList

LONG = b"./" + b"/".join([b"d" * 200] * 21) + b"/"  # 4,223 bytes


def listed(text: bytes, piece: int = 1 << 20) -> tuple[int, list[str]]:
    read, write = os.pipe()
    found = MemberList(read)

    def feed() -> None:
        for place in range(0, len(text), piece):
            os.write(write, text[place : place + piece])
        os.close(write)

    thread = threading.Thread(target=feed)
    thread.start()
    thread.join()
    return found.wait()


def test_members_are_counted_however_they_arrive() -> None:
    text = b"./\n./a\n./b\\nc\n"
    assert listed(text) == listed(text, 1) == (3, [])
    assert listed(b"") == (0, [])


def test_what_is_too_long_is_named_without_what_is_below_it() -> None:
    text = b"./\n" + LONG + b"\n" + LONG + b"inside\n" + LONG[:-1] + b"beside\n./last\n"
    for piece in (1 << 20, 7):
        count, names = listed(text, piece)
        assert count == 5
        assert names == [f"{LONG[:200].decode()}… (4223 bytes)", f"{LONG[:200].decode()}… (4228 bytes)"]


def test_the_limit_is_in_bytes_of_the_name_not_of_its_spelling() -> None:
    # Each of these is one byte.
    assert listed(b"./" + b"\\303" * (LONGEST_NAME - 2) + b"\n")[1] == []
    assert listed(b"./" + b"\\n" * (LONGEST_NAME - 2) + b"\n")[1] == []
    assert len(listed(b"./" + b"\\\\" * (LONGEST_NAME - 1) + b"\n")[1]) == 1


def test_a_million_long_names_do_not_fill_the_memory() -> None:
    names = listed(b"".join(LONG[:-1] + b"%d\n" % number for number in range(MOST_NAMES + 5)))[1]
    assert len(names) == MOST_NAMES + 1
    assert names[-1] == "(and 5 more)"


TOTAL = "Total bytes written: 10240 (10KiB, 1MiB/s)\n"


def parsed(*lines: str) -> tar_output.Messages:
    return tar_output.parse_messages(iter([f"{line}\n" for line in lines] + [TOTAL]))


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("tar: ./a: file changed as we read it", "./a"),
        ("tar: .: file changed as we read it", "."),
        (
            "tar: ./a\\nb: file changed as we read it: File removed before we read it",
            "./a\\nb: file changed as we read it",
        ),
        ("tar: ./a: File shrank by 1 byte; padding with zeros", "./a"),
        ("tar: ./a: File shrank by 40960 bytes; padding with zeros", "./a"),
        ("tar: ./a: Cannot stat: No such file or directory", "./a"),
        ("tar: ./a: Warning: Cannot llistxattrat: No such file or directory", "./a"),
        ("tar: ./a: Warning: Cannot lgetxattrat: No data available", "./a"),
    ],
)
def test_files_that_changed_are_named(line: str, name: str) -> None:
    messages = parsed(line)

    assert (messages.changed, messages.errors, messages.total) == ([name], [], 10240)
    assert tar_output.tar_failure(1, messages) is None
    assert tar_output.tar_failure(2, messages) is None


def test_names_are_messages_once_and_not_without_end() -> None:
    lines = [f"tar: ./{number}: file changed as we read it" for number in range(1500)]
    messages = parsed("tar: ./0: file changed as we read it", *lines)

    assert len(messages.changed) == MOST_NAMES + 1
    assert messages.changed[-1] == "(and 500 more)"


@pytest.mark.parametrize("call", ["savedir", "stat", "open", "readlink"])
def test_a_disk_that_cannot_be_read_is_not_a_file_that_changed(call: str) -> None:
    messages = parsed(f"tar: ./thesis: Cannot {call}: No data available")
    assert messages.changed == []
    assert tar_output.tar_failure(2, messages) == f"tar failed: tar: ./thesis: Cannot {call}: No data available"


def test_other_complaints_are_failures() -> None:
    messages = parsed(
        "tar: ./a: file changed as we read it",
        "tar: ./b: Read error at byte 0, while reading 10240 bytes: Input/output error",
        "tar: Exiting with failure status due to previous errors",
    )

    assert tar_output.tar_failure(2, messages) == (
        "tar failed: tar: ./b: Read error at byte 0, while reading 10240 bytes: Input/output error"
    )
    assert tar_output.tar_failure(-9, parsed()) == "tar was killed by signal 9"
    assert tar_output.tar_failure(2, parsed()) == "tar failed: exit status 2"
    assert tar_output.tar_failure(64, parsed("tar: ./a: file changed as we read it")) == "tar failed: exit status 64"
    assert tar_output.tar_failure(0, tar_output.parse_messages(iter([]))) == "tar did not report how much it wrote"
