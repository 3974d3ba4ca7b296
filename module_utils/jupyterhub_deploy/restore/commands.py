"""The commands that messages of a restore name. Pure."""

from __future__ import annotations


def restore(encrypted: bool, limit: str, **parameters: str | bool | None) -> str:
    """Return the command that restores with these parameters of ``restore.yml``.

    :param encrypted: whether the backup is, so that its private key is needed.
    :param limit: the host, if the inventory has others.
    :param parameters: those that are ``None``, empty or false are left out.
    """
    given = {**parameters, "identity": "FILE" if encrypted else None}
    shown = [f"-e {name}={'true' if value is True else value}" for name, value in given.items() if value]
    shown += [f"--limit {limit}"] if limit else []
    return f"`make restore ARGS='{' '.join(shown)}'`"
