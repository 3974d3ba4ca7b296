"""Choose whether an image is pulled or built; see the option ``source`` of the module ``jupyterhub_image``."""

from __future__ import annotations

from typing import Any, NamedTuple

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.docker.client import inspect_image
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.images import registry
from ansible.module_utils.jupyterhub_deploy.images.plan import BUILD, PULL, ImageOptions, undecided
from ansible.module_utils.jupyterhub_deploy.images.reference import login_for, parse


class Choice(NamedTuple):
    """The source, :data:`PULL` or :data:`BUILD`, the reason, and whether the choice is new and has to be stored."""

    source: str
    reason: str
    new: bool = False


def choose(client: Any, options: ImageOptions) -> Choice:
    """Return the source; for ``auto``, an earlier choice, or whether the registry can be reached.

    :param client: ``None`` on a host without Docker.
    :raises DeployError: the registry is reachable, but does not provide the image.
    """
    name = undecided(options.images)
    if options.source != "auto":
        return Choice(options.source, "jupyterhub_image_source is set to it")
    if not name:
        return Choice(PULL, "every image that could be built is named")
    earlier = (files.read_text(options.choice_file) or "").strip()
    if earlier in (PULL, BUILD):
        return Choice(earlier, f"{options.choice_file} stores an earlier choice")
    if not client:
        return Choice(PULL, "Docker is not installed yet, so the registry cannot be checked")
    if inspect_image(client, name):
        return Choice(PULL, f"{name} is on this host already", new=True)
    reference = parse(name)
    login = login_for(reference, options.registry_logins)
    kind, text = registry.query(client, name, login)
    if kind == registry.REACHABLE:
        return Choice(PULL, f"registry {reference.registry} answers", new=True)
    if kind == registry.UNREACHABLE:
        return Choice(BUILD, f"registry {reference.registry} cannot be reached from this host ({text})", new=True)
    raise DeployError(registry.explain(kind, name, reference, login, text))


def save(path: str, choice: Choice) -> None:
    """Store a choice for later runs."""
    files.write_atomically(path, choice.source + "\n", 0o644, parents=True)


def message(choice: Choice) -> str:
    """Return the choice for the operator."""
    return f"the notebook image is {'built on this host' if choice.source == BUILD else 'pulled'}: {choice.reason}"
