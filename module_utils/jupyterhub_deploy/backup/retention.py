"""Retention: select the backups to keep (pure functions), and remove the others (:func:`prune`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Callable

from ansible.module_utils.jupyterhub_deploy.backup import store, verify

# The period of a backup by rule: each rule keeps one backup per second, day (UTC), week (from Monday) or month.
RULES: dict[str, Callable[[datetime], object]] = {
    "last": lambda moment: moment,
    "daily": lambda moment: moment.date(),
    "weekly": lambda moment: moment.isocalendar()[:2],
    "monthly": lambda moment: (moment.year, moment.month),
}


def kept(moments: Iterable[datetime], keep: Mapping[str, int]) -> set[datetime]:
    """Return the times of the backups that the rules keep; always includes the newest.

    A rule keeps the newest backup of each of its last periods that have one. Periods without a backup do not count.

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
    """Return the backups to remove, oldest first; never includes the newest good one.

    :param good: whether a backup can be read, which may take long. Called for the newest first, until one is good,
        and only when something would be removed.
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
    """Remove the backups that the rules do not keep; return the paths of their archives. The caller holds the lock.

    Only files that one of our manifests names are read or removed.
    """
    backups = {backup.time: backup for backup in store.backups_in(directory, folder)}
    removed = [backups[moment] for moment in removable(backups, keep, lambda moment: verify.is_good(backups[moment]))]
    for backup in removed:
        store.delete(backup)
    return [backup.archive_path for backup in removed]
