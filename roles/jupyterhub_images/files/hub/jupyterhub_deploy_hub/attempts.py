"""The table of failed sign-ins in the hub's database, so that they survive a restart of the hub."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Column, Float, Integer, MetaData, String, Table, delete, insert, select, update

from .lockout import Failures, one_more_in, seconds_to_wait

#: Longer than a lock-out lasts, for all but strange settings.
KEPT_SECONDS = 24 * 3600

#: Separate metadata, so JupyterHub's schema check and migrations ignore this table.
_TABLE = Table(
    "jupyterhub_deploy_failed_sign_ins",
    MetaData(),
    Column("id", String(64), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last", Float, nullable=False),
)


class FailedSignIns:
    """Failures by key (see lockout.record_key), kept in the database of the session `db`."""

    def __init__(self, db: Any) -> None:
        self._db = db
        _TABLE.create(db.get_bind(), checkfirst=True)

    def get(self, key: str) -> Failures | None:
        """Return the failures of `key`, None without any."""
        row = self._db.execute(select(_TABLE.c.failures, _TABLE.c.last).where(_TABLE.c.id == key)).first()
        return Failures(row.failures, row.last) if row else None

    def put(self, key: str, failures: Failures) -> None:
        """Store the failures of `key`, and delete records of earlier days."""
        self._db.execute(delete(_TABLE).where(_TABLE.c.last < time.time() - KEPT_SECONDS))
        values = {"failures": failures.times, "last": failures.last}
        if self._db.execute(update(_TABLE).where(_TABLE.c.id == key).values(**values)).rowcount == 0:
            self._db.execute(insert(_TABLE).values(id=key, **values))
        self._db.commit()

    def wait(self, key: str, limit: int, window: int) -> int:
        """Return how many seconds `key`, which `count` counts, has to wait."""
        return seconds_to_wait(self.get(key), time.time(), limit, window)

    def count(self, key: str, window: int) -> None:
        """Count one more for `key`, in a window of so many seconds from the first one on."""
        self.put(key, one_more_in(self.get(key), time.time(), window))

    def forget(self, key: str) -> None:
        """Delete the failures of `key`, after a successful sign-in."""
        self._db.execute(delete(_TABLE).where(_TABLE.c.id == key))
        self._db.commit()
