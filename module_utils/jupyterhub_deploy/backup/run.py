"""Back up a hub: lock, clean up, back up, and remove old backups. Used by the module and by scheduled runs."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.jupyterhub_deploy.backup import retention, store
from ansible.module_utils.jupyterhub_deploy.backup.runner import Runner
from ansible.module_utils.jupyterhub_deploy.docker.client import connect, connect_or_none
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

# The argument spec of the module. The settings file of a schedule has a value for each argument.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "directory": {"type": "path", "required": True},
    "volumes": {"type": "list", "elements": "str", "default": []},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "hub_state": {"type": "bool", "default": True},
    "compression": {"type": "str", "choices": ["zstd", "gzip", "none"], "default": "zstd"},
    "recipients": {"type": "list", "elements": "str", "default": []},
    "consistency": {"type": "str", "choices": ["live", "paused", "stopped"], "default": "live"},
    "token_file": {"type": "path", "default": "", "no_log": False},
    "stop_timeout": {"type": "int", "default": 60},
    "force": {"type": "bool", "default": False},
    "parallel": {"type": "int", "default": 2},
    "keep": {"type": "dict", "options": {rule: {"type": "int", "default": 0} for rule in retention.RULES}},
    "config_dir": {"type": "path", "default": "/etc/jupyterhub"},
    "data_volume": {"type": "str", "default": ""},
}


def run(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Back up, and return what the module ``jupyterhub_backup`` documents (``RETURN``).

    :param params: see :data:`ARGUMENTS`, and ``progress_file``, see :class:`progress.Reporter`.
    :raises DeployError: the run could not start. Failures of single backups are in the result.
    """
    if params["parallel"] < 1:
        raise DeployError(f"parallel is {params['parallel']}; set it to 1 or more")
    runner = Runner(connect_or_none() if check_mode else connect(), params, check_mode)
    cleaned: list[str] = []
    removed: list[str] = []
    if check_mode:
        results = runner.run(params["volumes"], params["hub_state"])
    else:
        store.ensure_folder(params["directory"])
        with store.lock(params["directory"]):
            cleaned = runner.recover() + store.clean(params["directory"])
            results = runner.run(params["volumes"], params["hub_state"])
            if params["keep"]:
                for result in results:
                    if result["action"] != "failed":
                        removed += retention.prune(params["directory"], result["name"], params["keep"])
    totals = sums(results)
    return {
        "changed": bool(totals["backed_up"] or cleaned or removed),
        "results": results,
        "totals": totals,
        "cleaned": cleaned,
        "removed": removed,
    }


def sums(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the totals of the results of single backups."""
    return {
        "backed_up": sum(result["action"] == "backed_up" for result in results),
        "unchanged": sum(result["action"] == "unchanged" for result in results),
        "failed": sum(result["action"] == "failed" for result in results),
        "size": sum(result.get("size", 0) for result in results),
        "content_size": sum(result.get("content_size", 0) for result in results),
    }


def failure(results: list[dict[str, Any]]) -> str | None:
    """Return the message of a run in which backups failed, ``None`` when none did."""
    failed = [result for result in results if result["action"] == "failed"]
    if not failed:
        return None
    others = len(results) - len(failed)
    texts = "; ".join(f"{result['name']}: {result['error']}" for result in failed)
    return f"{len(failed)} of {len(results)} backups failed, {others} are up to date: {texts}"
