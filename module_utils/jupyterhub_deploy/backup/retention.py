"""Which backups stay. The choice is pure; :func:`prune` carries it out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Callable

from ansible.module_utils.jupyterhub_deploy.backup import store, verify

# What backups each rule counts as one: the same second, day (UTC), week (from Monday), month.
RULES: dict[str, Callable[[datetime], object]] = {
    "last": lambda moment: moment,
    "daily": lambda moment: moment.date(),
    "weekly": lambda moment: moment.isocalendar()[:2],
    "monthly": lambda moment: (moment.year, moment.month),
}


def kept(moments: Iterable[datetime], keep: Mapping[str, int]) -> set[datetime]:
    """Return the backups that the rules keep, by their times; the newest one always.

    A rule keeps the newest backup of each of its last periods that have one, so a time without any backup does not use
    rules up.

    :param keep: how many periods each of :data:`RULES` keeps.
    """
    newest_first = sorted(moments, reverse=True)
    stay = set(newest_first[:1])
    for rule, period in RULES.items():
        seen: dict[object, datetime] = {}
        for moment in newest_first:
            seen.setdefault(period(moment), moment)
        stay |= set(list(seen.values())[: max(0, keep.get(rule) or 0)])
    return stay


def removable(moments: Iterable[datetime], keep: Mapping[str, int], good: Callable[[datetime], bool]) -> list[datetime]:
    """Return the backups to remove, oldest first; the newest good one is never among them.

    :param good: whether a backup can be read; to find out may take long. Asked of the newest first, until one is good,
        and not at all when nothing would be removed.
    """
    moments = sorted(moments)
    stay = kept(moments, keep)
    if len(stay) == len(moments):
        return []
    for moment in reversed(moments):
        if good(moment):
            return [other for other in moments if other not in stay and other != moment]
    return []  # none is good: all may be needed for a repair


def prune(directory: str, folder: str, keep: Mapping[str, int]) -> list[str]:
    """Remove what the rules do not keep, and return the paths of its archives. The caller holds the lock.

    Only what a manifest of ours names is ever looked at.
    """
    backups = {backup.time: backup for backup in store.backups_in(directory, folder)}
    removed = [backups[moment] for moment in removable(backups, keep, lambda moment: verify.is_good(backups[moment]))]
    for backup in removed:
        store.forget(backup)
    return [backup.archive_path for backup in removed]
