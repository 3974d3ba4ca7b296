"""The progress of a pull, from the engine's events."""

from __future__ import annotations

from ansible.module_utils.jupyterhub_deploy.images.pull import Layers


def test_layers_add_up():
    layers = Layers()
    assert layers.line() == "asking the registry"
    layers.note({"status": "Downloading", "id": "a", "progressDetail": {"current": 100_000_000, "total": 200_000_000}})
    layers.note({"status": "Downloading", "id": "b", "progressDetail": {"current": 12_000_000, "total": 17_000_000}})
    assert layers.line() == "112/217 MB"
    layers.note({"status": "Download complete", "id": "a", "progressDetail": {}})
    layers.note({"status": "Extracting", "id": "a", "progressDetail": {"current": 1, "total": 200_000_000}})
    assert layers.line() == "212/217 MB"
    layers.note({"status": "Pull complete", "id": "b"})
    assert layers.line() == "unpacking"


def test_layers_that_are_there_do_not_count():
    layers = Layers()
    layers.note({"status": "Already exists", "id": "a", "progressDetail": {}})
    layers.note({"status": "Pulling from jupyter/minimal-notebook", "id": "2026-07-28"})
    assert layers.line() == "asking the registry"
