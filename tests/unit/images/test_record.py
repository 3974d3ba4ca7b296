"""The record of pulled and built images."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.jupyterhub_deploy.images import record

from support.factories.image_record import HUB, used_in_turn

OTHER = "lab"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("debian", "debian:latest"),
        ("docker.io/library/debian:12", "debian:12"),
        ("docker.io/alice/n:1", "alice/n:1"),
        ("localhost:5000/n:1", "localhost:5000/n:1"),
        ("quay.io/library/n:1", "quay.io/library/n:1"),
        ("quay.io/n:1@sha256:" + "a" * 64, "quay.io/n@sha256:" + "a" * 64),
    ],
)
def test_names_are_compared_as_docker_shows_them(name, shown):
    assert record.canonical(name) == shown


class TestDue:
    """Whether Docker has to be asked."""

    def test_nothing_new_and_nothing_old(self):
        kept = used_in_turn(*"abc")
        assert not record.needs_pruning(kept, HUB, {"notebook": ["c"]}, 2)

    def test_a_new_image_an_older_one_and_another_number(self):
        kept = used_in_turn(*"abc")
        assert record.needs_pruning(kept, HUB, {"notebook": ["d"]}, 2)
        assert record.needs_pruning(kept, HUB, {"notebook": ["c"]}, 1)
        assert record.needs_pruning(used_in_turn(*"abcd"), HUB, {"notebook": ["d"]}, 2)
        assert record.needs_pruning(kept, OTHER, {"notebook": ["c"]}, 2)

    def test_the_order_of_current_images_does_not_count(self):
        kept = record.with_current(record.EMPTY, HUB, {"extra": ["b", "a"]}, 2)
        assert not record.needs_pruning(kept, HUB, {"extra": ["a", "b"]}, 2)


class TestFile:
    def test_what_is_written_is_read(self, tmp_path):
        path = str(tmp_path / "deep" / "images.json")
        record.save(path, used_in_turn(*"abc"))
        assert record.load(path) == used_in_turn(*"abc")
        assert [file.name for file in (tmp_path / "deep").iterdir()] == ["images.json"]

    @pytest.mark.parametrize(
        "text",
        [
            "", "{", "[]", "null", "{}", '{"brought": [], "hubs": {}}', '{"brought": {"a": "n:1"}, "hubs": {}}',
            '{"brought": {"a": [1]}, "hubs": {}}', '{"brought": {}, "hubs": []}', '{"brought": {}, "hubs": {"a": {}}}',
            '{"brought": {}, "hubs": {"a": {"keep": "2", "current": {}, "history": {}}}}',
            '{"brought": {}, "hubs": {"a": {"keep": 2, "current": {"hub": "x"}, "history": {}}}}', "\x00\xff",
        ],
    )  # fmt: skip
    def test_a_damaged_one_counts_as_none_so_that_nothing_is_removed(self, tmp_path, text):
        path = tmp_path / "images.json"
        assert record.load(str(path)) == record.EMPTY
        path.write_text(text)
        assert record.load(str(path)) == record.EMPTY

    def test_nothing_is_changed_in_place(self):
        before = used_in_turn(*"abc")
        text = json.dumps(before)
        record.with_current(record.with_image(before, HUB, "hub", "x", "h:1"), OTHER, {"hub": ["y"]}, 1)
        record.without(before, {"a", "c"})
        assert json.dumps(before) == text
        assert record.EMPTY == {"brought": {}, "hubs": {}}


def test_removed_images_are_removed_from_the_record():
    after = record.without(used_in_turn(*"abc"), {"a", "c"})
    assert after["brought"] == {"b": ["n:1"]}
    assert after["hubs"][HUB]["history"] == {"notebook": ["b"]}
    assert after["hubs"][HUB]["current"] == {"notebook": []}
