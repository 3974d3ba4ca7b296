"""Volumes to measure backups on: what people of a course keep, and one volume of 50,000 tiny files."""

from __future__ import annotations

import base64
import json
import os
import random
import zlib
from pathlib import Path

MEGABYTE = 1_000_000
TINY_FILES = 50_000


def notebook(chance: random.Random) -> str:
    """Return a notebook with text, code and a picture in its output."""
    picture = base64.b64encode(chance.randbytes(60_000)).decode()
    source = [f"x{n} = [{', '.join(str(chance.random()) for _ in range(8))}]\n" for n in range(200)]
    output = {"output_type": "display_data", "data": {"image/png": picture}, "metadata": {}}
    cell = {"cell_type": "code", "source": source, "outputs": [output], "metadata": {}, "execution_count": 1}
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def table(chance: random.Random, size: int) -> str:
    """Return a CSV file of about so many bytes."""
    rows = [f"{n},{chance.choice('abcdef')},{chance.gauss(0, 1):.6f},2026-11-{n % 28 + 1:02d}" for n in range(4000)]
    text = "\n".join(rows) + "\n"
    return text * max(1, size // len(text))


def mixed(path: Path, seed: int) -> None:
    """Fill a volume: notebooks, a git repository's objects, tables, half-random data, a sparse file, attributes."""
    chance = random.Random(seed)
    for number in range(12):
        (path / f"week {number}.ipynb").write_text(notebook(chance), encoding="utf-8")
    for number in range(900):
        folder = path / ".git" / "objects" / f"{number % 256:02x}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:038x}").write_bytes(zlib.compress(chance.randbytes(chance.randrange(100, 6000))))
    for number in range(4):
        (path / f"table{number}.csv").write_text(table(chance, 3 * MEGABYTE), encoding="utf-8")
    for number in range(2):
        half = b"".join(chance.randbytes(500) + bytes(500) for _ in range(2000))
        (path / f"frame{number}.parquet").write_bytes(half)
    with (path / "array.dat").open("wb") as sparse:
        sparse.write(chance.randbytes(MEGABYTE))
        sparse.truncate(40 * MEGABYTE)
    os.setxattr(path / "table0.csv", "user.origin", b"course")
    os.symlink("table0.csv", path / "latest.csv")
    os.link(path / "table1.csv", path / "the same.csv")
    _to_a_user(path)


def tiny(path: Path, seed: int) -> None:
    """Fill a volume with tiny files, as an unpacked data set or a node_modules has them."""
    chance = random.Random(seed)
    for number in range(TINY_FILES):
        folder = path / f"part{number // 500:03d}"
        if number % 500 == 0:
            folder.mkdir()
        (folder / f"{number:06d}.txt").write_bytes(chance.randbytes(40) * 4)
    _to_a_user(path)


def _to_a_user(path: Path) -> None:
    for parent, folders, files in os.walk(path):
        for name in folders + files:
            os.lchown(os.path.join(parent, name), 1000, 100)
    os.chown(path, 1000, 100)
