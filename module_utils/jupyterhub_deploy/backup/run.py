"""Back up a hub: lock, clean up, back up, and remove old backups. Used by the module and by scheduled runs."""

from __future__ import annotations

import contextlib

from ansible.module_utils.jupyterhub_deploy.backup import draft, retention, store
from ansible.module_utils.jupyterhub_deploy.backup.manifest import HUB_FOLDER
from ansible.module_utils.jupyterhub_deploy.backup.runner import Result, Runner
from ansible.module_utils.jupyterhub_deploy.backup.settings import BackupSettings, check_parallel
from ansible.module_utils.jupyterhub_deploy.docker.client import connect, connect_or_none
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.progress import Reporter


def run(settings: BackupSettings, check_mode: bool, progress: Reporter) -> Result:
    """Back up, and return what the module ``jupyterhub_backup`` documents (``RETURN``).

    :raises DeployError: the run could not start. Failures of single backups are in the result.
    """
    check_parallel(settings.parallel)
    disk = store.missing_disk(settings.directory)
    if disk:
        raise DeployError(
            f"the disk that {store.FSTAB} mounts at {disk} is not mounted, and backups would fill the disk of the "
            f"system; run `mount {disk}`, or remove the line from {store.FSTAB}"
        )
    refuse_other_hubs(settings.directory, settings.name)
    runner = Runner(connect_or_none() if check_mode else connect(), settings, check_mode, progress)
    cleaned: list[str] = []
    removed: list[str] = []
    if check_mode:
        results = runner.run()
    else:
        store.ensure_folder(settings.directory)
        with store.lock(settings.directory):
            cleaned = runner.recover() + draft.clean(settings.directory)
            results = runner.run()
            for result in results:
                if settings.keep and result["action"] != "failed":
                    removed += retention.prune(settings.directory, result["name"], settings.keep)
    totals = sums(results)
    return {
        "changed": bool(totals["backed_up"] or cleaned or removed),
        "results": results,
        "totals": totals,
        "cleaned": cleaned,
        "removed": removed,
        "messages": messages(results, totals, cleaned, removed, settings.directory, check_mode)
        + runner.gaps([result["name"] for result in results]),
    }


def refuse_other_hubs(directory: str, hub: str) -> None:
    """Check that a directory has no backups of another hub's state: their folder and their retention are shared.

    :raises DeployError: it has.
    """
    others: set[str] = set()
    with contextlib.suppress(NotADirectoryError):  # the error follows when the directory is created
        others = {one.manifest.hub for one in store.backups_in(directory, HUB_FOLDER)} - {hub}
    if others:
        raise DeployError(
            f"{directory} has backups of hub {min(others)}, which backups of hub {hub} would replace in time; set "
            f"jupyterhub_backup_dir to another directory for each hub, for example {directory}/{hub}"
        )


def messages(
    results: list[Result],
    totals: dict[str, int],
    cleaned: list[str],
    removed: list[str],
    directory: str,
    check_mode: bool,
) -> list[str]:
    """Return the lines to show about a run."""
    done = "would be backed up" if check_mode else "backed up"
    return [
        f"{done}: {totals['backed_up']}, unchanged: {totals['unchanged']}, in {directory}",
        *([f"old backups removed: {len(removed)}"] if removed else []),
        *([f"removed after an interrupted run: {', '.join(cleaned)}"] if cleaned else []),
        *(note for result in results for note in _notes(result)),
    ]


def _notes(result: Result) -> list[str]:
    """Return what an administrator should know about one backup."""
    name, notes = result["name"], []
    if result["action"] == "failed":
        owner = f" of user {result['user']}" if result.get("user") else ""
        what = "the hub's own state" if name == HUB_FOLDER else f"volume {name}{owner}"
        return [f"NOT BACKED UP: {what}: {result['error'].removeprefix(f'volume {name} ')}"]
    if result.get("changed_files"):
        notes.append(f"{name}: files changed while they were read; its manifest lists them")
    if result.get("unrestorable"):
        notes.append(f"{name}: has paths that are too long to restore; its manifest lists them for its user to shorten")
    notes += [f"{server}: stopped for its backup" for server in result.get("stopped", [])]
    return notes + list(result.get("not_at_rest", []))


def sums(results: list[Result]) -> dict[str, int]:
    """Return the totals of the results of single backups."""
    return {
        "backed_up": sum(result["action"] == "backed_up" for result in results),
        "unchanged": sum(result["action"] == "unchanged" for result in results),
        "failed": sum(result["action"] == "failed" for result in results),
        "size": sum(result.get("size", 0) for result in results),
        "content_size": sum(result.get("content_size", 0) for result in results),
    }


def failure(results: list[Result]) -> str | None:
    """Return the message of a run in which backups failed, ``None`` when none did."""
    failed = [result for result in results if result["action"] == "failed"]
    if not failed:
        return None
    others = len(results) - len(failed)
    texts = "; ".join(f"{result['name']}: {result['error']}" for result in failed)
    return f"{len(failed)} of {len(results)} backups failed, {others} are up to date: {texts}"
