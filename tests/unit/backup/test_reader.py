"""What an archive may hold to be restored, and everything that it may not."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.backup import reader, tar_headers
from ansible.module_utils.jupyterhub_deploy.backup.tar_headers import LONGEST_NAME
from ansible.module_utils.jupyterhub_deploy.backup.tar_members import Content
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

from support.factories.backups import (
    END,
    ROOT,
    folder,
    header,
    joined,
    member,
    padded,
    pax,
    put,
    put_tree,
    record,
    tar_of,
)

FILE = member(b"./a", b"text")


def check(directory: Path, content: bytes, members: int, **more: Any) -> Content:
    backup = put(directory, content, members, **more)
    with reader.opened(backup) as archive:
        return reader.validate(archive, backup)


def test_what_tar_writes_of_every_sort_of_file_is_accepted(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir(0o750)
    (tree / "plain").write_bytes(b"x" * 1000)
    os.link(tree / "plain", tree / "another name")
    with open(tree / ("s" * 250), "wb") as sparse:
        sparse.truncate(1 << 20)
        sparse.seek(1 << 19)
        sparse.write(b"y")
    os.mkfifo(tree / "fifo")
    (tree / "absolute").symlink_to("/etc/passwd")
    (tree / "up").symlink_to("../../" + "x" * 150)
    os.link(tree / "up", tree / "up again", follow_symlinks=False)
    (tree / "d").mkdir()
    (tree / "d" / "..almost").mkdir(mode=0)
    (tree / "two\nlines").touch(mode=0o4755)
    Path(os.fsdecode(bytes(tree) + b"/\xff\xfe")).write_bytes(b"")

    for compression in ("none", "gzip", "zstd"):
        backup = put_tree(tmp_path / compression, tree, compression=compression)
        with reader.opened(backup) as archive:
            found = reader.validate(archive, backup)

        assert found == Content(
            entries=12, directories=3, symlinks=1 + 1, fifos=1, files=5 + 1, links=2, size=1000 + (1 << 20)
        )


def test_a_deep_path_and_many_names_are_accepted(tmp_path: Path) -> None:
    tree = deep = tmp_path / "tree"
    tree.mkdir()
    for _ in range(400):
        deep = deep / "d"
        os.mkdir(deep)
    for number in range(300):
        (tree / f"{number}").touch()

    backup = put(tmp_path / "b", tar_of(tree), 701)
    with reader.opened(backup) as archive:
        assert reader.validate(archive, backup).directories == 401


# Each: the members, and what the refusal says. All have a fitting manifest.
HOSTILE = {
    "absolute": ([ROOT, member(b"/etc/cron.d/x", b"x")], "member /etc/cron.d/x of .* its name is absolute"),
    "absolute in pax": ([ROOT, pax((b"path", b"/etc/x")), FILE], "its name is absolute"),
    "up": ([ROOT, member(b"./../x", b"x")], r"its name has `\.\.`"),
    "up inside": ([ROOT, folder(b"./d/"), member(b"./d/../../x")], r"its name has `\.\.`"),
    "up in pax": ([ROOT, pax((b"path", b"./../x")), FILE], r"its name has `\.\.`"),
    "up in a sparse name": (
        [
            ROOT,
            pax(
                (b"GNU.sparse.major", b"1"),
                (b"GNU.sparse.minor", b"0"),
                (b"GNU.sparse.name", b"./../x"),
                (b"GNU.sparse.realsize", b"1"),
            ),
            member(b"./GNUSparseFile.0/x", padded(b"0\n")),
        ],
        r"its name has `\.\.`",
    ),
    "up in a prefix": ([ROOT, member(b"x", prefix=b"./..".ljust(155, b"\0"))], r"its name has `\.\.`"),
    "a name that is ..": ([ROOT, folder(b"./d/"), member(b"./d/..")], r"its name has `\.\.`"),
    "a directory that is ..": ([ROOT, folder(b"./d/"), folder(b"./d/../")], r"its name has `\.\.`"),
    "a name that is a dot": ([ROOT, member(b"./.")], "not written as GNU tar writes it"),
    "a directory with two slashes": ([ROOT, folder(b"./d//")], "not written as GNU tar writes it"),
    "a long directory without a slash": ([ROOT, folder(b"./dd")], "no slash at its end"),
    "no ./": ([ROOT, member(b"a")], "not written as GNU tar writes it"),
    "two slashes": ([ROOT, folder(b"./d/"), member(b"./d//a")], "not written as GNU tar writes it"),
    "a dot inside": ([ROOT, folder(b"./d/"), member(b"./d/./a")], "not written as GNU tar writes it"),
    "a file with a slash is a directory to tar": ([ROOT, member(b"./a/")], "not written as GNU tar writes it"),
    "a directory without one": ([ROOT, folder(b"./d")], "no slash at its end"),
    "a name too long": ([ROOT, pax((b"path", b"./" + b"n" * 256)), FILE], "longer than 255"),
    "a part too long of a path too long": (
        [ROOT, pax((b"path", b"./" + b"n/" * 2100 + b"n" * 256)), FILE],
        "longer than 255",
    ),
    "up in a path too long": ([ROOT, pax((b"path", b"./" + b"n/" * 2100 + b"../a")), FILE], r"its name has `\.\.`"),
    "no parent of a path too long": ([ROOT, pax((b"path", b"./" + b"n/" * 2100 + b"a")), FILE], "is not the directory"),
    "through a symlink": (
        [ROOT, member(b"./s", kind=b"2", target=b"/etc"), member(b"./s/x", b"x")],
        r"member \./s/x .*: \./s/ is not the directory",
    ),
    "through a symlink in a directory's place": (
        [ROOT, folder(b"./d/"), member(b"./d", kind=b"2", target=b"/etc"), member(b"./d/x")],
        r"member \./d .*: it is in the archive twice",
    ),
    "a directory in a symlink's place": (
        [ROOT, member(b"./s", kind=b"2", target=b"/etc"), folder(b"./s/"), member(b"./s/x")],
        "it is in the archive twice",
    ),
    "back into a directory": (
        [ROOT, folder(b"./d/"), FILE, member(b"./d/x")],
        r"\./d/ is not the directory that is being restored",
    ),
    "no parent": ([ROOT, member(b"./d/x")], r"\./d/ is not the directory"),
    "a name twice": ([ROOT, FILE, FILE], "it is in the archive twice"),
    "the root twice": ([ROOT, ROOT], "it is in the archive twice"),
    "no root": ([FILE], r"does not begin with `\./`"),
    "the root is a file": ([member(b"./")], "has the place of the volume's own directory"),
    "the root is a symlink": ([member(b"./", kind=b"2", target=b"/etc")], "has the place of the volume's own"),
    "hard link outside": (
        [ROOT, member(b"./h", kind=b"1", target=b"/etc/shadow")],
        "hard link to /etc/shadow, outside",
    ),
    "hard link up": ([ROOT, member(b"./h", kind=b"1", target=b"./../x")], r"hard link to \./\.\./x, outside"),
    "hard link up in pax": ([ROOT, pax((b"linkpath", b"../x")), member(b"./h", kind=b"1", target=b"./a")], "outside"),
    "hard link through a symlink": (
        [ROOT, member(b"./s", kind=b"2", target=b"/etc"), member(b"./h", kind=b"1", target=b"./s/shadow")],
        r"hard link to \./s/shadow, which is not in the archive before it",
    ),
    "hard link to what comes later": (
        [ROOT, member(b"./h", kind=b"1", target=b"./a"), FILE],
        r"member \./h .*hard link to \./a, which is not in the archive before it",
    ),
    "hard link to itself": ([ROOT, member(b"./h", kind=b"1", target=b"./h")], "not in the archive before it"),
    "hard link to a directory": (
        [ROOT, folder(b"./d/"), member(b"./h", kind=b"1", target=b"./d")],
        "not in the archive before it",
    ),
    "hard link with content": ([ROOT, FILE, member(b"./h", b"x", kind=b"1", target=b"./a")], "it has content"),
    "link to nothing": ([ROOT, member(b"./s", kind=b"2")], "a link to nothing"),
    "a file with a target": ([ROOT, member(b"./a", target=b"/etc/passwd")], "has a link's target"),
    "character device": ([ROOT, member(b"./c", kind=b"3")], r"member \./c .*: it is a character device"),
    "block device": ([ROOT, member(b"./b", kind=b"4")], "it is a block device"),
    "GNU long name": ([ROOT, member(b"././@LongLink", b"./x\0", kind=b"L"), FILE], "of type `L`"),
    "GNU long link": ([ROOT, member(b"././@LongLink", b"./x\0", kind=b"K"), FILE], "of type `K`"),
    "global header": ([member(b"./g", padded(record(b"path", b"/x")), kind=b"g"), ROOT], "of type `g`"),
    "old sparse": ([ROOT, member(b"./x", kind=b"S")], "of type `S`"),
    "dump of a directory": ([ROOT, member(b"./x/", kind=b"D")], "of type `D`"),
    "contiguous file": ([ROOT, member(b"./x", kind=b"7")], "of type `7`"),
    "file of old tars": ([ROOT, member(b"./x", kind=b"\0")], r"of type `\\x00`"),
    "old magic": ([ROOT, member(b"./x", magic=b"ustar  \0")], "another format"),
    "no magic": ([ROOT, member(b"./x", magic=bytes(8))], "another format"),
    "two names in one": ([ROOT, member(b"./x\0/../y")], "goes on behind a zero byte"),
    "zero byte in pax": ([ROOT, pax((b"path", b"./a\0b")), FILE], "path is"),
    "something in the reserve": ([ROOT, member(b"./x", rest=b"x" * 12)], "where nothing belongs"),
    "pax twice": ([ROOT, pax((b"path", b"./a")), pax((b"path", b"./b")), FILE], "two extended headers"),
    "key twice": ([ROOT, pax((b"path", b"./a"), (b"path", b"/b")), FILE], "has path twice"),
    "key of another tar": ([ROOT, pax((b"hdrcharset", b"BINARY")), FILE], "has hdrcharset"),
    "key of GNU tar": ([ROOT, pax((b"GNU.dumpdir", b"R../x\0")), FILE], "has GNU.dumpdir"),
    "half of sparse": ([ROOT, pax((b"GNU.sparse.name", b"./b")), FILE], "sparse file is not complete"),
    "old sparse in pax": ([ROOT, pax((b"GNU.sparse.map", b"0,1")), FILE], "has GNU.sparse.map"),
    "size of a directory": ([ROOT, pax((b"size", b"512")), folder(b"./d/")], "it has content"),
    "pax alone": ([ROOT, pax((b"path", b"./a"))], "an extended header and nothing else"),
    "a number that is none": ([ROOT, pax((b"size", b"-1")), FILE], "size is -1"),
    "checksum of a header": ([ROOT, member(b"./a", checksum=b"000000\0 ")], "its header is damaged"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_member_is_refused(case: str, tmp_path: Path) -> None:
    parts, why = HOSTILE[case]

    with pytest.raises(DeployError, match=why):
        check(tmp_path, joined(parts), 3)


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_written_before_a_refusal_is_acceptable_itself(case: str, tmp_path: Path) -> None:
    parts, _ = HOSTILE[case]
    written: list[bytes] = []
    backup = put(tmp_path / "hostile", joined(parts), 3)

    with reader.opened(backup) as archive, pytest.raises(DeployError):
        reader.validate(archive, backup, written.append)

    tar = b"".join(written)
    assert joined(parts).startswith(tar)
    if tar:
        names = subprocess.run(["tar", "--list"], input=tar + END, check=True, capture_output=True).stdout
        assert check(tmp_path / "written", tar + END, names.count(b"\n")).entries > 0


@pytest.mark.parametrize(
    "field", [{"size": b"\x80" + bytes(11)}, {"size": b"          4\0"}, {"mode": b"-000644\0"}, {"uid": b"\xff" * 8}]
)
def test_a_number_in_another_form_is_refused(field: dict[str, bytes], tmp_path: Path) -> None:
    others: Any = {key: value for key, value in field.items() if key != "size"}
    block = header(b"./x", **others)
    if "size" in field:
        block = block[:124] + field["size"] + block[136:148] + b" " * 8 + block[156:]
        block = block[:148] + b"%06o\0 " % sum(block) + block[156:]

    with pytest.raises(DeployError, match="is not an octal number"):
        check(tmp_path, joined([ROOT, block]), 2)


@pytest.mark.parametrize("number", [65521, -65521, 256])
def test_a_checksum_is_compared_whole(number: int) -> None:
    # Names of bytes with high values: the sum of a header is more than 65,521, by which Adler-32 divides.
    named: Any = {"prefix": b"\xfe" * 155, "owners": b"\xfe" * 64}
    total = sum(header(b"\xfe" * 100, target=b"\xfe" * 100, checksum=b" " * 8, **named))
    block = header(b"\xfe" * 100, target=b"\xfe" * 100, checksum=b"%06o\0 " % (total + number), **named)

    tar_headers.check_header(header(b"\xfe" * 100, target=b"\xfe" * 100, **named), "x", 0)
    with pytest.raises(DeployError, match="its header is damaged"):
        tar_headers.check_header(block, "x", 0)


TIMES = [(b"mtime", b"1795752257.880709511"), (b"atime", b"1795752257.90537342"), (b"ctime", b"1795752258.2")]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"30 mtime", b"29 mtime", "is damaged"),
        (b"29 atime", b"30 atime", "is damaged"),
        (b"22 ctime", b"23 ctime", "is damaged"),
        (b"ctime", b"mtime", "has mtime twice"),
        (b"ctime", b"dtime", "has dtime"),
        (b"8.2\n", b"8.x\n", "ctime is"),
        (b"8.2\n", b"8.2\0", "is damaged"),
    ],
)
def test_the_times_in_an_extended_header_are_checked(old: bytes, new: bytes, why: str, tmp_path: Path) -> None:
    text = b"".join(record(*time) for time in TIMES)
    assert text.count(old) == 1
    text_with_fault = text.replace(old, new)
    start = header(b"./PaxHeaders/x", b"x", len(text))

    check(tmp_path / "good", joined([ROOT, start + padded(text) + FILE]), 2)
    with pytest.raises(DeployError, match=why):
        check(tmp_path / "bad", joined([ROOT, start + padded(text_with_fault) + FILE]), 2)


@pytest.mark.parametrize(
    "length", [b"9", b"99999 path=./b\n", b"0 path=./b\n", b"+11 path=x\n", b"10 path=x", b"3 =\n"]
)
def test_a_damaged_extended_header_is_refused(length: bytes, tmp_path: Path) -> None:
    parts = [ROOT, header(b"./PaxHeaders/x", b"x", len(length)), padded(length), FILE]

    with pytest.raises(DeployError, match="extended header"):
        check(tmp_path, joined(parts), 2)


def test_a_size_in_the_extended_header_counts_also_when_it_is_zero(tmp_path: Path) -> None:
    # A reader that takes the other one sees an absolute name in what is the next member here, or the other way round.
    hidden = member(b"/etc/x", b"x")
    parts = [ROOT, pax((b"size", b"0")), header(b"./a", size=len(hidden)), hidden]

    with pytest.raises(DeployError, match="its name is absolute"):
        check(tmp_path, joined(parts), 2)


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_a_cut_at_a_member_boundary_is_found(compression: str, tmp_path: Path) -> None:
    whole = joined([ROOT, FILE])
    for cut, why in (
        (ROOT, "ends early|is not whole"),
        (ROOT + END, "has 1 members, not 2"),
        (ROOT + FILE, "ends early|is not whole"),
        (ROOT + FILE + bytes(512), "without the two zero blocks"),
        (ROOT + FILE[:700], "ends early|is not whole"),
        (whole[:-1], "ends early|is not whole|without the two zero blocks"),
        (b"", "ends early|is not whole"),
    ):
        with pytest.raises(DeployError, match=why):
            check(tmp_path, cut, 2, compression=compression)
        # The checksum and the count may fit: the attacker can change the manifest, too.
        with pytest.raises(DeployError, match=f"{why}|is not whole"):
            check(tmp_path, cut, 2, compression=compression, content_size=len(whole))


def test_what_follows_the_end_is_refused(tmp_path: Path) -> None:
    # GNU tar stops at the end, with --ignore-zeros and some other readers go on.
    with pytest.raises(DeployError, match="something behind its end"):
        check(tmp_path, joined([ROOT, FILE]) + member(b"./b") + END, 3)
    with pytest.raises(DeployError, match="something behind its end"):
        check(tmp_path, ROOT + bytes(512) + FILE + END, 2)


def test_a_manifest_that_lies_is_found(tmp_path: Path) -> None:
    content = joined([ROOT, FILE])
    for lie, why in (
        ({"members": 3}, "has 2 members, not 3"),
        ({"content_size": len(content) - 512}, "holds more than|without the two zero blocks"),
        ({"content_size": len(content) + 512}, "is not whole"),
        ({"content_size": 0}, "ends early, or holds more"),
        ({"sha256": "0" * 64}, "does not have the checksum"),
    ):
        with pytest.raises(DeployError, match=why):
            put_and_check(tmp_path, content, lie)
    for lie in ({"archive": "../x/20261123T014440Z.tar"}, {"archive": "20261123T014441Z.tar"}, {"size": 1}):
        with pytest.raises(DeployError):
            put_and_check(tmp_path, content, lie)


def put_and_check(directory: Path, content: bytes, lie: dict[str, Any]) -> None:
    members = lie.pop("members", 2)
    check(directory, content, members, **lie)


def test_paths_too_long_to_be_extracted_are_left_out_by_name_and_place(tmp_path: Path) -> None:
    names = [b"./" + b"/".join([b"d" * 200] * level) + b"/" for level in range(1, 23)]
    longest, long = names[19], names[20]  # 4,021 and 4,222 bytes
    edge = longest + b"e" * (LONGEST_NAME - len(longest))
    parts = [ROOT, *(pax((b"path", name)) + folder(b"./x/") for name in names[:20])]
    parts += [pax((b"path", edge)) + member(b"./x", b"text")]
    parts += [pax((b"path", long)) + folder(b"./x/")]
    parts += [pax((b"path", long + b"inside")) + member(b"./x", b"text" * 200)]
    parts += [pax((b"path", edge + b"e")) + member(b"./x", b"text")]
    parts += [FILE]
    parts += [pax((b"linkpath", long + b"inside")) + member(b"./link", kind=b"1")]

    found = check(tmp_path, joined(parts), len(parts))

    assert (found.entries, found.directories, found.files, found.size) == (23, 21, 2, 8)
    assert found.left_out_entries == 4
    assert [name[:3] for name in found.left_out] == ["./d", "./d", "./l"]
    written: list[bytes] = []
    backup = put(tmp_path / "written", joined(parts), len(parts))
    with reader.opened(backup) as archive:
        reader.validate(archive, backup, written.append)
    assert b"".join(written) == joined(parts[:22] + parts[25:26])
    with pytest.raises(DeployError, match="has more than the 3 members"):
        check(tmp_path, joined(parts), 3)


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_a_flipped_bit_is_found_wherever_it_is(compression: str, tmp_path: Path) -> None:
    for place in (0, 20, 40, -1):

        def flip(archive: bytes, place: int = place) -> bytes:
            changed = bytearray(archive)
            changed[place] ^= 4
            return bytes(changed)

        with pytest.raises(DeployError, match="does not have the checksum"):
            check(tmp_path, joined([ROOT, FILE]), 2, compression=compression, damage=flip)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_what_cannot_be_decompressed_is_refused(compression: str, tmp_path: Path) -> None:
    content = joined([ROOT, FILE])
    tool = {"gzip": ["gzip", "-c"], "zstd": ["zstd", "-qc", "--check"]}[compression]
    good = subprocess.run(tool, input=content, check=True, capture_output=True).stdout
    backup = put(tmp_path, content, 2, compression=compression)
    damaged = good[:-2] + bytes([good[-2] ^ 1, good[-1]])
    Path(backup.archive_path).write_bytes(damaged)
    # Its checksum is right: this archive has a manifest made for it.
    manifest = replace(backup.manifest, sha256=hashlib.sha256(damaged).hexdigest(), size=len(damaged))

    with reader.opened(backup) as archive, pytest.raises(DeployError, match=r"decompressed|not whole"):
        reader.validate(archive, replace(backup, manifest=manifest))


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    content = joined([ROOT, member(b"./zeros", bytes(1 << 24))])

    with pytest.raises(DeployError, match="holds more than the 4096 bytes"):
        check(tmp_path, content, 2, compression="zstd", content_size=4096)


def test_an_archive_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    backup = put(tmp_path, joined([ROOT]), 1)
    Path(backup.archive_path).rename(tmp_path / "elsewhere")
    Path(backup.archive_path).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(DeployError, match="cannot be read"), reader.opened(backup):
        pass


def test_names_in_messages_are_one_line() -> None:
    assert tar_headers.shown(b"./a\nb\x1b[31m\xff\xc3\xa4") == "./a\\nb\\x1b[31m\\xffä"
    assert len(tar_headers.shown(b"n" * 1000)) == 201
