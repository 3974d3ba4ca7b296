"""Which backups retention keeps, over a simulated year."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

from ansible.module_utils.jupyterhub_deploy.backup import retention, store
from hypothesis import given
from hypothesis import strategies as st

from support import backup_data

BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
MOMENTS = st.sets(st.integers(0, 365 * 86400 - 1), min_size=1, max_size=60).map(
    lambda seconds: {BEGIN + timedelta(seconds=second) for second in seconds}
)
KEEP = st.fixed_dictionaries({rule: st.integers(0, 15) for rule in retention.RULES})


def nightly(days: int = 365) -> list[datetime]:
    return [BEGIN + timedelta(days=day, hours=2) for day in range(days)]


def test_a_year_of_nightly_backups_is_reduced_to_what_the_policy_keeps() -> None:
    stay = sorted(retention.kept(nightly(), {"last": 3, "daily": 7, "weekly": 4, "monthly": 6}))

    assert [f"{moment:%m-%d}" for moment in stay] == [
        *("07-31", "08-31", "09-30", "10-31", "11-30"),  # months, with December 31
        *("12-13", "12-20"),  # Sundays, weeks with December 27 and 31
        *("12-25", "12-26", "12-27", "12-28", "12-29", "12-30", "12-31"),
    ]


def test_a_policy_of_every_night_is_stable_through_the_year() -> None:
    keep = {"daily": 7, "weekly": 4, "monthly": 12}
    there: set[datetime] = set()
    for moment in nightly():
        there.add(moment)
        there -= set(retention.removable(there, keep, lambda moment: True))

    assert there == retention.kept(nightly(), keep)


@given(MOMENTS, KEEP)
def test_each_rule_keeps_the_newest_of_its_periods(moments: set[datetime], keep: dict[str, int]) -> None:
    stay = retention.kept(moments, keep)
    assert max(moments) in stay
    wanted = {max(moments)}
    for rule, period in retention.RULES.items():
        periods = sorted({period(moment) for moment in moments})[::-1][: keep[rule]]  # type: ignore[type-var]
        wanted |= {max(moment for moment in moments if period(moment) == one) for one in periods}

    assert stay == wanted


@given(MOMENTS, KEEP, st.data())
def test_the_newest_good_one_is_never_removed(
    moments: set[datetime], keep: dict[str, int], data: st.DataObject
) -> None:
    good = data.draw(st.sets(st.sampled_from(sorted(moments))))
    removed = set(retention.removable(moments, keep, good.__contains__))

    assert removed <= moments - retention.kept(moments, keep)
    if good:
        assert max(good) not in removed
        assert removed == moments - retention.kept(moments, keep) - {max(good)}
    else:
        assert removed == set()


@given(
    st.lists(st.sampled_from(["good", "good", "good", "damaged", "none"]), min_size=365, max_size=365),
    KEEP,
    st.integers(0, 86399),
)
def test_a_year_of_nights_never_loses_the_last_good_one_and_keeps_what_the_policy_says(
    nights: list[str], keep: dict[str, int], second: int
) -> None:
    """Night by night, as it goes: some nights there is no backup, and some are damaged later."""
    made: set[datetime] = set()
    good: set[datetime] = set()
    there: set[datetime] = set()
    for night, moment in zip(nights, (BEGIN + timedelta(days=day, seconds=second) for day in range(365))):
        if night == "none":
            continue
        made.add(moment)
        there.add(moment)
        good |= {moment} if night == "good" else set()
        there -= set(retention.removable(there, keep, good.__contains__))

        assert moment in there
        assert not good or max(good) in there
        # Removed night by night or all at once: the policy's answer is the same one.
        if len(made) % 20 == 0:
            policy = retention.kept(made, keep)
            assert policy <= there
            assert not good or there == policy | {max(good)}
    assert good or there == made


def test_the_same_week_of_two_years_is_two_weeks() -> None:
    weeks = [BEGIN, BEGIN + timedelta(days=1), BEGIN + timedelta(weeks=53)]
    assert [moment.isocalendar()[1] for moment in weeks] == [1, 1, 1]

    assert retention.kept(weeks, {"weekly": 2}) == set(weeks[1:])


def test_nothing_is_read_when_nothing_would_be_removed() -> None:
    def good(moment: datetime) -> bool:
        raise AssertionError("was read")

    assert retention.removable(nightly(3), {"daily": 3}, good) == []
    assert retention.kept([], {"daily": 3}) == set()


def test_without_rules_only_the_newest_stays() -> None:
    assert retention.removable(nightly(3), {}, lambda moment: True) == nightly(3)[:2]
    assert retention.removable(nightly(3), {"last": -1}, lambda moment: True) == nightly(3)[:2]


def test_only_what_manifests_name_is_removed_and_a_damaged_newest_one_saves_the_one_before(tmp_path: Path) -> None:
    backups = [backup_data.write(tmp_path, moment, b"\0" * 10240) for moment in nightly(4)]
    folder = tmp_path / "jupyterhub-user-alice"
    for name in ("notes", "20260101T000000Z.tar", "20260102T000000Z.json"):
        (folder / name).write_bytes(b"")
    with open(backups[3].archive_path, "r+b") as file:
        file.write(b"damaged")
    removed = retention.prune(str(tmp_path), folder.name, {"last": 1})

    assert removed == [backup.archive_path for backup in backups[:2]]
    assert store.backups_in(str(tmp_path), folder.name) == backups[2:]
    assert {"notes", "20260101T000000Z.tar", "20260102T000000Z.json"} <= set(os.listdir(folder))
