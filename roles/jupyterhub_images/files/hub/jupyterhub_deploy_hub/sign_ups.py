"""When each account was created by the sign-up form, and which of them nobody has used. In the hub's database.

NativeAuthenticator does not store it. Accounts that an administrator or the inventory created have no record here, nor
those that were created before this table existed, so that neither counts as unused.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Boolean, Column, Float, MetaData, String, Table, delete, insert, inspect, select, text

#: Separate metadata, so JupyterHub's schema check and migrations ignore this table.
_TABLE = Table(
    "jupyterhub_deploy_sign_ups",
    MetaData(),
    Column("name", String(128), primary_key=True),
    Column("created", Float, nullable=False),
    Column("authorized", Boolean, nullable=False),
)

#: An account is used when it has had a server. An administrator knows it who has authorized it, made it an
#: administrator, put it into a group, or added a user of its name, who has not been active then.
_UNUSED = """
SELECT s.name, s.created, u.id IS NOT NULL
FROM jupyterhub_deploy_sign_ups s
JOIN users_info a ON a.username = s.name
LEFT JOIN users u ON u.name = s.name
WHERE s.created >= :since
  AND (s.authorized OR NOT a.is_authorized)
  AND (u.id IS NULL OR (u.last_activity IS NOT NULL AND NOT COALESCE(u.admin, :no)))
  AND NOT EXISTS (SELECT 1 FROM user_group_map g WHERE g.user_id = u.id)
  AND NOT EXISTS (
    SELECT 1 FROM spawners p
    WHERE p.user_id = u.id AND (p.server_id IS NOT NULL OR p.started IS NOT NULL OR p.last_activity IS NOT NULL)
  )
ORDER BY s.created, s.name
"""


class SignUps:
    """The records, kept in the database of the session `db`. The caller commits."""

    def __init__(self, db: Any) -> None:
        self._db = db
        _TABLE.create(db.get_bind(), checkfirst=True)

    def add(self, name: str, authorized: bool) -> None:
        """Record an account that was created now; `authorized`: without an administrator."""
        self.forget(name)
        self._db.execute(insert(_TABLE).values(name=name, created=time.time(), authorized=authorized))

    def forget(self, name: str) -> None:
        """Delete the record of an account that is deleted."""
        self._db.execute(delete(_TABLE).where(_TABLE.c.name == name))


def forget(connection: Any, name: str) -> None:
    """Delete the record of an account, also in the database of a hub that has not started with this table yet."""
    if inspect(connection).has_table(_TABLE.name):
        connection.execute(delete(_TABLE).where(_TABLE.c.name == name))


def signed_up_at(connection: Any, name: str) -> float | None:
    """Return when an account was created by the sign-up form, in seconds since the epoch; None for others.

    A hub without native accounts does not have the table.
    """
    if not inspect(connection).has_table(_TABLE.name):
        return None
    created: float | None = connection.execute(select(_TABLE.c.created).where(_TABLE.c.name == name)).scalar()
    return created


def unused(connection: Any, since: float) -> list[dict[str, Any]]:
    """Return the unused accounts that were created since a time (seconds since the epoch), the oldest first.

    Each has ``name``, ``created``, and ``known``: whether the hub knows a user of that name, who has signed in once.
    """
    tables = inspect(connection)
    if not all(tables.has_table(name) for name in (_TABLE.name, "users_info", "users")):
        return []
    rows = connection.execute(text(_UNUSED), {"since": since, "no": False})
    return [{"name": row[0], "created": row[1], "known": bool(row[2])} for row in rows]
