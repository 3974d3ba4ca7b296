"""The labels by which objects of Docker are found again."""

from __future__ import annotations

LABEL_HUB = "org.jupyterhub.deploy.hub"  # on everything that belongs to a hub: the hub's name
LABEL_USER = "org.jupyterhub.deploy.user"  # on a user's server and volume: the user's name (the hub image sets it)
