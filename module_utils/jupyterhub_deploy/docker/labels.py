"""The labels of containers, volumes and other Docker objects."""

from __future__ import annotations

LABEL_HUB = "org.jupyterhub.deploy.hub"  # on everything that belongs to a hub: the hub's name
LABEL_USER = "org.jupyterhub.deploy.user"  # on a user's server and volume: the user's name (the hub image sets it)
LABEL_USER_SINCE = "org.jupyterhub.deploy.user-since"  # on a user's new volume: when the user was added to the hub
LABEL_REHEARSAL = "org.jupyterhub.deploy.rehearsal"  # on the volume of a temporary user, who is removed with it
LABEL_RESTORING = "org.jupyterhub.deploy.restoring"  # on a volume of a restore: the new volume that gets its data
LABEL_MEASURES = (
    "org.jupyterhub.deploy.measures"  # on a container that measures volumes for a hub (the hub image sets it)
)
LABEL_PURPOSE = "org.jupyterhub.deploy.purpose"  # on a container that tests or reads an image: which of the two
LABEL_FRONT = "org.jupyterhub.deploy.front"  # on the containers of the front, which belong to the host
LABEL_NOTEBOOK_IMAGE_ID = "org.jupyterhub.deploy.notebook-image-id"  # on a hub: the image that it starts servers from
