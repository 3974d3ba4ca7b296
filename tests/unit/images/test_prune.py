"""Which earlier images are removed or kept: the record of pulled and built images, and the decision."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.jupyterhub_deploy.images import prune
from ansible.module_utils.jupyterhub_deploy.images.prune import Found, Record, Verdict
from hypothesis import given
from hypothesis import strategies as st

HUB, OTHER = "jupyterhub", "lab"


def record(*ids: str, keep: int = 2, kind: str = "notebook", hub: str = HUB, onto: Record = prune.EMPTY) -> Record:
    """Return the record after a hub has used these images in turn, under one tag; the last one is current."""
    for image_id in ids:
        onto = prune.with_image(onto, hub, kind, image_id, "n:1")
        onto = prune.with_current(onto, hub, {kind: [image_id]}, keep)
    return onto


def host(*ids: str, **more: Found) -> dict[str, Found]:
    return {**{image_id: Found([], [], [f"layer of {image_id}"]) for image_id in ids}, **more}


def split(verdicts: list[Verdict]) -> tuple[set[str], dict[str, str]]:
    """Return the images to remove, and those to keep with their reasons."""
    return {one.id for one in verdicts if one.remove}, {one.id: one.reason for one in verdicts if not one.remove}


def decide(kept: Record, present: dict[str, Found], used: dict[str, str] | None = None, hub: str = HUB):
    return split(prune.plan(kept, hub, present, used or {}))


def test_the_newest_are_kept_and_older_ones_removed():
    gone, kept = decide(record(*"abcde"), host(*"abcde"))
    assert gone == {"a", "b"}
    assert kept == dict.fromkeys("cd", "among the newest 2 earlier notebook images of hub jupyterhub")


@pytest.mark.parametrize(("keep", "going"), [(-1, ""), (0, "abcd"), (1, "abc"), (4, ""), (9, "")])
def test_the_operator_sets_how_many_are_kept(keep, going):
    assert decide(record(*"abcde", keep=keep), host(*"abcde"))[0] == set(going)


def test_each_kind_is_counted_by_itself():
    both = record(*"ABC", keep=1, kind="hub", onto=record(*"abc", keep=1))
    both = prune.with_current(both, HUB, {"notebook": ["c"], "hub": ["C"]}, 1)
    assert decide(both, host(*"abcABC"))[0] == {"a", "A"}


def test_going_back_makes_an_image_the_newest_again():
    back = prune.with_current(record(*"abc", keep=1), HUB, {"notebook": ["a"]}, 1)
    assert decide(back, host(*"abc"))[0] == {"b"}
    onward = record("d", keep=1, onto=back)
    assert decide(onward, host(*"abcd"))[0] == {"b", "c"}


def test_images_of_containers_are_kept_in_addition_to_the_newest():
    gone, kept = decide(record(*"abcde", keep=1), host(*"abcde"), {"a": "stopped container jupyter-alice uses it"})
    assert gone == {"b", "c"}
    assert kept["a"] == "stopped container jupyter-alice uses it"


def test_images_that_are_not_recorded_are_kept():
    kept = record(*"ab", keep=0)
    foreign = prune.with_current(kept, HUB, {"notebook": ["f"]}, 0)
    moved_on = record("c", keep=0, onto=foreign)
    assert decide(moved_on, host(*"abcfx"))[0] == {"a", "b"}


def test_images_that_another_hub_uses_or_keeps_are_kept():
    both = record(*"xab", keep=1, hub=OTHER, onto=record(*"abc", keep=0))
    both = prune.with_current(both, HUB, {"notebook": ["c"]}, 0)
    gone, kept = decide(both, host(*"abcx"))
    assert gone == set()
    assert kept == {
        "a": "among the newest 1 earlier notebook images of hub lab",
        "b": "hub lab uses it",
    }


def test_more_notebooks_of_another_hub_stay():
    both = record(*"abc", keep=0)
    both = prune.with_current(both, OTHER, {"notebook": ["y"], "extra": ["a", "z"]}, 2)
    assert decide(both, host(*"abcyz"))[0] == {"b"}


def test_an_image_that_is_current_as_another_kind_stays():
    kept = prune.with_current(record(*"abc", keep=0), HUB, {"notebook": ["c"], "extra": ["a"]}, 0)
    assert decide(kept, host(*"abc"))[0] == {"b"}


def test_an_image_that_another_one_is_built_on_is_kept():
    child = Found(["mine:1"], ["b", "a"], ["layer of a", "more"])
    gone, kept = decide(record(*"abcd", keep=0), host(*"abcd", child=child))
    assert gone == {"c"}
    assert kept == {"a": "image mine:1 is built on it", "b": "image mine:1 is built on it"}


def test_others_builds_are_recognised_by_their_layers():
    """BuildKit does not record the image on which an image was built."""
    child = Found(["mine:1"], [], ["layer of a", "more"])
    assert decide(record(*"abc", keep=0), host(*"abc", child=child))[0] == {"b"}


def test_a_pulled_image_does_not_depend_on_an_earlier_one():
    """A new release often has the layers of the previous one, and more."""
    newer = Found(["n:1"], [], ["layer of a", "more"])
    assert decide(record("a", "newer", keep=0), host("a", newer=newer))[0] == {"a"}


def test_a_base_goes_with_the_last_image_that_is_built_on_it_and_after_it():
    kept = record("base1", "base2", keep=0, kind="base", onto=record("hub1", "hub2", keep=0, kind="hub"))
    kept = prune.with_current(kept, HUB, {"base": ["base2"], "hub": ["hub2"]}, 0)
    present = host("base1", "base2", "hub2", hub1=Found([], ["step", "base1"], ["layer of base1", "more"]))
    verdicts = prune.plan(kept, HUB, present, {})
    assert [one.id for one in verdicts if one.remove] == ["hub1", "base1"]
    gone, reasons = decide(kept, present, {"hub1": "container x uses it"})
    assert gone == set()
    assert reasons["base1"] == "image hub1 is built on it"


def test_the_newest_stage_of_a_build_stays_unless_nothing_shall():
    for keep, going in ((-1, ""), (0, "abc"), (1, "ab"), (5, "ab")):
        kept = prune.EMPTY
        for image_id in "abc":
            kept = prune.with_image(kept, HUB, "stage-hub", image_id)
        kept = prune.with_current(kept, HUB, {}, keep)
        assert decide(kept, host(*"abc"))[0] == set(going), keep


def test_only_names_that_we_gave_are_ours():
    given = ["example.com/n:1", "alone@sha256:1"]
    names = ["example.com/n:1", "example.com/n:keep", "example.com/n@sha256:9", "other/n@sha256:9", "alone@sha256:1"]
    assert prune.project_names(names, given) == ["example.com/n:1", "example.com/n@sha256:9", "alone@sha256:1"]


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
    assert prune.canonical(name) == shown


class TestDue:
    """Whether Docker has to be asked."""

    def test_nothing_new_and_nothing_old(self):
        kept = record(*"abc")
        assert not prune.needs_pruning(kept, HUB, {"notebook": ["c"]}, 2)

    def test_a_new_image_an_older_one_and_another_number(self):
        kept = record(*"abc")
        assert prune.needs_pruning(kept, HUB, {"notebook": ["d"]}, 2)
        assert prune.needs_pruning(kept, HUB, {"notebook": ["c"]}, 1)
        assert prune.needs_pruning(record(*"abcd"), HUB, {"notebook": ["d"]}, 2)
        assert prune.needs_pruning(kept, OTHER, {"notebook": ["c"]}, 2)

    def test_the_order_of_current_images_does_not_count(self):
        kept = prune.with_current(prune.EMPTY, HUB, {"extra": ["b", "a"]}, 2)
        assert not prune.needs_pruning(kept, HUB, {"extra": ["a", "b"]}, 2)


class TestFile:
    def test_what_is_written_is_read(self, tmp_path):
        path = str(tmp_path / "deep" / "images.json")
        prune.save(path, record(*"abc"))
        assert prune.load(path) == record(*"abc")
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
        assert prune.load(str(path)) == prune.EMPTY
        path.write_text(text)
        assert prune.load(str(path)) == prune.EMPTY

    def test_nothing_is_changed_in_place(self):
        before = record(*"abc")
        text = json.dumps(before)
        prune.with_current(prune.with_image(before, HUB, "hub", "x", "h:1"), OTHER, {"hub": ["y"]}, 1)
        prune.without(before, {"a", "c"})
        assert json.dumps(before) == text
        assert prune.EMPTY == {"brought": {}, "hubs": {}}


def test_removed_images_are_removed_from_the_record():
    after = prune.without(record(*"abc"), {"a", "c"})
    assert after["brought"] == {"b": ["n:1"]}
    assert after["hubs"][HUB]["history"] == {"notebook": ["b"]}
    assert after["hubs"][HUB]["current"] == {"notebook": []}


@pytest.mark.parametrize(
    ("others", "freed"),
    [([], 60), ([["a"]], 50), ([["a", "b", "x"], ["a"]], 30), ([["a", "b", "c"]], 0), ([["b", "c"]], 60)],
)
def test_freed_is_what_no_other_image_has(others, freed):
    assert prune.freed_bytes(["a", "b", "c"], [10, 0, 20, 30, 0], others) == freed


IDS = st.sampled_from("abcdefgh")


@given(
    mine=st.lists(IDS, min_size=1), theirs=st.lists(IDS), foreign=st.sets(IDS), present=st.sets(IDS), used=st.sets(IDS),
    keep=st.integers(-1, 4), their_keep=st.integers(-1, 4),
)  # fmt: skip
def test_never_a_current_a_used_or_a_foreign_one_and_exactly_the_newest_stay(
    mine, theirs, foreign, present, used, keep, their_keep
):
    kept = record(*theirs, keep=their_keep, hub=OTHER, onto=record(*mine, keep=keep))
    for image_id in foreign:
        kept["brought"].pop(image_id, None)
    gone, _ = decide(kept, host(*present), dict.fromkeys(used, "container x uses it"))

    assert not gone & (used | foreign)
    assert gone <= present & set(mine)
    assert mine[-1] not in gone
    assert not theirs or theirs[-1] not in gone
    latest = [image_id for image_id in dict.fromkeys(reversed(mine)) if image_id != mine[-1]]
    earlier = [image_id for image_id in latest if image_id in present and image_id not in foreign]
    if keep >= 0:
        assert not gone & set(earlier[:keep])
    if not theirs:
        assert gone == (set(earlier[keep:]) - used if keep >= 0 else set())
