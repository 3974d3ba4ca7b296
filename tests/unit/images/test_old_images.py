"""Which earlier images are removed or kept."""

from __future__ import annotations

import pytest
from ansible.module_utils.jupyterhub_deploy.images import old_images, record
from ansible.module_utils.jupyterhub_deploy.images.old_images import HostImage, OldImage
from ansible.module_utils.jupyterhub_deploy.images.record import Record
from hypothesis import given
from hypothesis import strategies as st

from support.factories.image_record import HUB, used_in_turn

OTHER = "lab"


def host(*ids: str, **more: HostImage) -> dict[str, HostImage]:
    return {**{image_id: HostImage([], [], [f"layer of {image_id}"]) for image_id in ids}, **more}


def split(found: list[OldImage]) -> tuple[set[str], dict[str, str]]:
    """Return the images to remove, and those to keep with their reasons."""
    return {one.id for one in found if one.remove}, {one.id: one.reason for one in found if not one.remove}


def decide(kept: Record, present: dict[str, HostImage], used: dict[str, str] | None = None, hub: str = HUB):
    return split(old_images.plan(kept, hub, present, used or {}))


def test_the_newest_are_kept_and_older_ones_removed():
    gone, kept = decide(used_in_turn(*"abcde"), host(*"abcde"))
    assert gone == {"a", "b"}
    assert kept == dict.fromkeys("cd", "among the newest 2 earlier notebook images of hub jupyterhub")


@pytest.mark.parametrize(("keep", "going"), [(-1, ""), (0, "abcd"), (1, "abc"), (4, ""), (9, "")])
def test_the_operator_sets_how_many_are_kept(keep, going):
    assert decide(used_in_turn(*"abcde", keep=keep), host(*"abcde"))[0] == set(going)


def test_each_kind_is_counted_by_itself():
    both = used_in_turn(*"ABC", keep=1, kind="hub", onto=used_in_turn(*"abc", keep=1))
    both = record.with_current(both, HUB, {"notebook": ["c"], "hub": ["C"]}, 1)
    assert decide(both, host(*"abcABC"))[0] == {"a", "A"}


def test_going_back_makes_an_image_the_newest_again():
    back = record.with_current(used_in_turn(*"abc", keep=1), HUB, {"notebook": ["a"]}, 1)
    assert decide(back, host(*"abc"))[0] == {"b"}
    onward = used_in_turn("d", keep=1, onto=back)
    assert decide(onward, host(*"abcd"))[0] == {"b", "c"}


def test_images_of_containers_are_kept_in_addition_to_the_newest():
    gone, kept = decide(
        used_in_turn(*"abcde", keep=1), host(*"abcde"), {"a": "stopped container jupyter-alice uses it"}
    )
    assert gone == {"b", "c"}
    assert kept["a"] == "stopped container jupyter-alice uses it"


def test_images_that_are_not_recorded_are_kept():
    kept = used_in_turn(*"ab", keep=0)
    foreign = record.with_current(kept, HUB, {"notebook": ["f"]}, 0)
    moved_on = used_in_turn("c", keep=0, onto=foreign)
    assert decide(moved_on, host(*"abcfx"))[0] == {"a", "b"}


def test_images_that_another_hub_uses_or_keeps_are_kept():
    both = used_in_turn(*"xab", keep=1, hub=OTHER, onto=used_in_turn(*"abc", keep=0))
    both = record.with_current(both, HUB, {"notebook": ["c"]}, 0)
    gone, kept = decide(both, host(*"abcx"))
    assert gone == set()
    assert kept == {
        "a": "among the newest 1 earlier notebook images of hub lab",
        "b": "hub lab uses it",
    }


def test_more_notebooks_of_another_hub_stay():
    both = used_in_turn(*"abc", keep=0)
    both = record.with_current(both, OTHER, {"notebook": ["y"], "extra": ["a", "z"]}, 2)
    assert decide(both, host(*"abcyz"))[0] == {"b"}


def test_an_image_that_is_current_as_another_kind_stays():
    kept = record.with_current(used_in_turn(*"abc", keep=0), HUB, {"notebook": ["c"], "extra": ["a"]}, 0)
    assert decide(kept, host(*"abc"))[0] == {"b"}


def test_an_image_that_another_one_is_built_on_is_kept():
    child = HostImage(["mine:1"], ["b", "a"], ["layer of a", "more"])
    gone, kept = decide(used_in_turn(*"abcd", keep=0), host(*"abcd", child=child))
    assert gone == {"c"}
    assert kept == {"a": "image mine:1 is built on it", "b": "image mine:1 is built on it"}


def test_others_builds_are_recognised_by_their_layers():
    """BuildKit does not record the image on which an image was built."""
    child = HostImage(["mine:1"], [], ["layer of a", "more"])
    assert decide(used_in_turn(*"abc", keep=0), host(*"abc", child=child))[0] == {"b"}


def test_a_pulled_image_does_not_depend_on_an_earlier_one():
    """A new release often has the layers of the previous one, and more."""
    newer = HostImage(["n:1"], [], ["layer of a", "more"])
    assert decide(used_in_turn("a", "newer", keep=0), host("a", newer=newer))[0] == {"a"}


def test_a_base_goes_with_the_last_image_that_is_built_on_it_and_after_it():
    kept = used_in_turn("base1", "base2", keep=0, kind="base", onto=used_in_turn("hub1", "hub2", keep=0, kind="hub"))
    kept = record.with_current(kept, HUB, {"base": ["base2"], "hub": ["hub2"]}, 0)
    present = host("base1", "base2", "hub2", hub1=HostImage([], ["step", "base1"], ["layer of base1", "more"]))
    found = old_images.plan(kept, HUB, present, {})
    assert [one.id for one in found if one.remove] == ["hub1", "base1"]
    gone, reasons = decide(kept, present, {"hub1": "container x uses it"})
    assert gone == set()
    assert reasons["base1"] == "image hub1 is built on it"


def test_the_newest_stage_of_a_build_stays_unless_nothing_shall():
    for keep, going in ((-1, ""), (0, "abc"), (1, "ab"), (5, "ab")):
        kept = record.EMPTY
        for image_id in "abc":
            kept = record.with_image(kept, HUB, "stage-hub", image_id)
        kept = record.with_current(kept, HUB, {}, keep)
        assert decide(kept, host(*"abc"))[0] == set(going), keep


def test_only_names_that_we_gave_are_ours():
    given = ["example.com/n:1", "alone@sha256:1"]
    names = ["example.com/n:1", "example.com/n:keep", "example.com/n@sha256:9", "other/n@sha256:9", "alone@sha256:1"]
    assert old_images.project_names(names, given) == ["example.com/n:1", "example.com/n@sha256:9", "alone@sha256:1"]


@pytest.mark.parametrize(
    ("others", "freed"),
    [([], 60), ([["a"]], 50), ([["a", "b", "x"], ["a"]], 30), ([["a", "b", "c"]], 0), ([["b", "c"]], 60)],
)
def test_freed_is_what_no_other_image_has(others, freed):
    assert old_images.freed_bytes(["a", "b", "c"], [10, 0, 20, 30, 0], others) == freed


IDS = st.sampled_from("abcdefgh")


@given(
    mine=st.lists(IDS, min_size=1), theirs=st.lists(IDS), foreign=st.sets(IDS), present=st.sets(IDS), used=st.sets(IDS),
    keep=st.integers(-1, 4), their_keep=st.integers(-1, 4),
)  # fmt: skip
def test_never_a_current_a_used_or_a_foreign_one_and_exactly_the_newest_stay(
    mine, theirs, foreign, present, used, keep, their_keep
):
    kept = used_in_turn(*theirs, keep=their_keep, hub=OTHER, onto=used_in_turn(*mine, keep=keep))
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
