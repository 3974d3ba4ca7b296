"""Where this hub keeps its data, for the host: backups and the deletion of users have to know it.

The hub writes the file at each start, from the configuration that it has loaded. ``hub/storage.py`` of the host's
modules reads it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from . import CONFIG_FILE
from .container_settings import sources
from .seed import load_config

#: In the data volume. The name is also in ``hub/storage.py``.
STORAGE_FILE = Path("/data/storage.json")


def write(config_file: Path = CONFIG_FILE, target: Path = STORAGE_FILE) -> None:
    """Write where the data are; a reader gets the old file or the new one."""
    content = {**describe(load_config(config_file)), "config": digest(config_file)}
    staging = target.with_name(f".{target.name}")
    try:
        staging.write_text(json.dumps(content, sort_keys=True) + "\n", encoding="utf-8")
        os.replace(staging, target)
    except OSError as error:  # the host then says that it does not know where the data are
        print(f"{target} cannot be written: {error}", file=sys.stderr)


def digest(config_file: Path) -> str:
    """Return a digest of the configuration, by which the host recognises a file of an earlier one."""
    texts = (config_file.read_bytes(), config_file.with_name("settings.json").read_bytes())
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def describe(config: Any) -> dict[str, Any]:
    """Return ``database``, its URL without a password, and ``volumes``, the sources of users' directories.

    Each source is a template of dockerspawner: a path on the host, or the name of a volume.
    """
    from jupyterhub.app import JupyterHub
    from sqlalchemy.engine import make_url

    # At level DEBUG, an application logs its whole configuration, with the secrets of the authenticators.
    app = JupyterHub(config=config, log=logging.Logger("none", logging.CRITICAL))
    found = dict.fromkeys(source for _, source in sources(config, app.spawner_class))
    return {"database": make_url(app.db_url).render_as_string(hide_password=True), "volumes": list(found)}
