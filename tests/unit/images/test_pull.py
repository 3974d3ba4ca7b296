"""The progress of a pull, from Docker's events."""

from __future__ import annotations

from ansible.module_utils.jupyterhub_deploy.images.pull import Layers


def test_layers_are_summed():
    layers = Layers()
    assert layers.line() == "asking the registry"
    layers.add({"status": "Downloading", "id": "a", "progressDetail": {"current": 100_000_000, "total": 200_000_000}})
    layers.add({"status": "Downloading", "id": "b", "progressDetail": {"current": 12_000_000, "total": 17_000_000}})
    assert layers.line() == "112/217 MB"
    layers.add({"status": "Download complete", "id": "a", "progressDetail": {}})
    layers.add({"status": "Extracting", "id": "a", "progressDetail": {"current": 1, "total": 200_000_000}})
    assert layers.line() == "212/217 MB"
    layers.add({"status": "Pull complete", "id": "b"})
    assert layers.line() == "unpacking"


def test_layers_on_the_host_do_not_count():
    layers = Layers()
    layers.add({"status": "Already exists", "id": "a", "progressDetail": {}})
    layers.add({"status": "Pulling from jupyter/minimal-notebook", "id": "2026-07-28"})
    assert layers.line() == "asking the registry"
