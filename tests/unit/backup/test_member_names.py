"""Names as GNU tar lists them: counted, and those that are too long to be extracted."""

from __future__ import annotations

import os
import threading

from ansible.module_utils.jupyterhub_deploy.backup.member_names import LONGEST_NAME, MOST_NAMES, Listed

LONG = b"./" + b"/".join([b"d" * 200] * 21) + b"/"  # 4,223 bytes


def listed(text: bytes, piece: int = 1 << 20) -> tuple[int, list[str]]:
    read, write = os.pipe()
    found = Listed(read)

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
