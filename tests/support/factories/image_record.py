"""Records of the images that this project pulled or built."""

from __future__ import annotations

from ansible.module_utils.jupyterhub_deploy.images import record

HUB = "jupyterhub"


def used_in_turn(
    *ids: str, keep: int = 2, kind: str = "notebook", hub: str = HUB, onto: record.Record = record.EMPTY
) -> record.Record:
    """Return the record after a hub has used these images in turn, under one tag; the last one is current."""
    for image_id in ids:
        onto = record.with_image(onto, hub, kind, image_id, "n:1")
        onto = record.with_current(onto, hub, {kind: [image_id]}, keep)
    return onto
