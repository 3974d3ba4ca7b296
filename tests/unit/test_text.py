"""Numbers, names and times as people and machines write them."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from ansible.module_utils.jupyterhub_deploy import text


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_500_000, "1.5 MB"),
        (2 * 10**9, "2.0 GB"),
        (4 * 10**15, "4000.0 TB"),
    ],
)
def test_sizes_have_a_unit(size: int, shown: str) -> None:
    assert text.human_size(size) == shown


def test_a_unique_name_is_the_name_or_the_first_free_number() -> None:
    assert text.unique_name("old", []) == "old"
    assert text.unique_name("old", ["old", "old-2", "old-4"]) == "old-3"


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-23T01:44:40.123456789Z",
        "2026-11-23T01:44:40.123456",
        "2026-11-23T03:44:40.123456+02:00",
        "2026-11-23T00:14:40.123456-0130",
    ],
)
def test_docker_and_jupyterhub_write_the_same_moment(written: str) -> None:
    moment = datetime(2026, 11, 23, 1, 44, 40, 123456, tzinfo=timezone.utc)
    assert text.parse_time(written) == moment


@pytest.mark.parametrize("written", [None, "", "yesterday", "0001-01-01T00:00:00Z"])
def test_what_is_not_a_time_is_none(written: str | None) -> None:
    assert text.parse_time(written) is None


def test_ids_are_as_short_as_docker_shows_them() -> None:
    assert text.short_id("image@sha256:" + "0123456789abcdef" * 4) == "image@sha256:0123456789ab"
    assert text.short_id("no id") == "no id"


def test_a_number_has_its_noun_in_singular_or_plural():
    assert [text.counted(number, "entry", "entries") for number in (0, 1, 2)] == ["0 entries", "1 entry", "2 entries"]
