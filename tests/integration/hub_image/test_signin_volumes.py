"""Users of three authenticators, with containers as servers: equal names have separate volumes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from hosts.run import name as run_name
from support.oauth_hub import Visitor, hub_of, provider_of
from support.signin_hub import HubContainer, docker

PASSWORD = "three unrelated words"
WORK = "/home/jovyan/work"
PREFIX = run_name("signin-volumes")
IMAGE = f"{PREFIX}:notebook"
EXTRA = f"""
c.JupyterHub.spawner_class = "jupyterhub_deploy_hub.spawner.HubSpawner"
c.DockerSpawner.image = "{IMAGE}"
c.HubSpawner.concurrent_starts = 0  # the servers never answer
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
"""


@pytest.fixture(scope="module")
def hub(hub_image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubContainer]:
    image = hub_image("5.5.4")
    lines = (
        f'FROM {image}\nUSER root\nENTRYPOINT []\nRUN useradd -u 1000 -g 100 jovyan\nUSER 1000\nCMD ["sleep", "600"]\n'
    )
    docker("build", "--quiet", "--tag", IMAGE, "-", stdin=lines)
    provider = provider_of()
    made = hub_of(
        image, tmp_path_factory.mktemp("volumes"), provider, EXTRA, socket=True, name=PREFIX,
        authenticators=["native", "github", "gitlab"],
        github_allowed_organizations=["course"], gitlab_allowed_groups=["faculty/lab"],
    )  # fmt: skip
    try:
        provider.callback = made.start().url
        yield made
    finally:
        made.remove()
        provider.stop()
        containers = docker("ps", "--all", "--quiet", "--filter", f"name=^{PREFIX}").stdout.split()
        if containers:
            docker("rm", "--force", "--volumes", *containers)
        if volumes():
            docker("volume", "rm", *volumes())
        docker("rmi", "--force", IMAGE, check=False)


def volumes() -> list[str]:
    return docker("volume", "ls", "--quiet", "--filter", f"name=^{PREFIX}-user-").stdout.split()


def containers() -> list[str]:
    return docker("ps", "--filter", f"name=^{PREFIX}", "--format", "{{.Names}}").stdout.split()


def wait_for(hub: HubContainer, *names: str) -> None:
    """Wait until these servers run."""
    end = time.monotonic() + 60
    while not {f"{PREFIX}-{name}" for name in names} <= set(containers()):
        assert time.monotonic() < end, hub.logs()
        time.sleep(0.2)


def test_equal_names_have_separate_volumes(hub: HubContainer) -> None:
    people = {"alice": Visitor(hub), "github:alice": Visitor(hub), "gitlab:alice": Visitor(hub)}
    people["alice"].sign_up("alice", PASSWORD)
    assert people["alice"].sign_in("alice", PASSWORD).status_code == 302
    for way in ("github", "gitlab"):
        assert people[f"{way}:alice"].by(f"{way}/", "alice").status_code == 302
    names = {"alice": "alice", "github:alice": "github-3aalice", "gitlab:alice": "gitlab-3aalice"}
    for user, person in people.items():
        assert person.name() == user
        assert person.api("POST", f"users/{user}/server").status_code in (201, 202)
    wait_for(hub, *names.values())
    assert sorted(containers()) == sorted(f"{PREFIX}-{name}" for name in names.values())
    for user, name in names.items():
        docker("exec", f"{PREFIX}-{name}", "sh", "-c", f"echo {user} > {WORK}/mine-of-{name}")
    for name in names.values():
        assert docker("exec", f"{PREFIX}-{name}", "ls", WORK).stdout.split() == [f"mine-of-{name}"]
    assert sorted(volumes()) == sorted(f"{PREFIX}-user-{name}" for name in names.values())


def test_a_user_who_is_not_allowed_never_gets_a_container(hub: HubContainer) -> None:
    before = sorted(containers()), sorted(volumes())
    for way, own in (("github", "github:bob"), ("gitlab", "gitlab:bob")):
        person = Visitor(hub)
        assert person.by(f"{way}/", "bob").status_code == 403
        person.get("login")
        # The servers of bob and of others, by the API and by the pages that start one.
        for user in (own, "bob", "alice", f"{way}:alice"):
            assert person.api("POST", f"users/{user}/server").status_code == 403
            assert person.get(f"spawn/{user}").url.startswith(f"{hub.url}login?next=")
            assert person.get(f"user-redirect/{user}").url.startswith(f"{hub.url}login?next=")
    # The hub starts servers one after the other: when this one runs, one that was requested before would run, too.
    zoe = Visitor(hub)
    zoe.sign_up("zoe", PASSWORD)
    assert zoe.sign_in("zoe", PASSWORD).status_code == 302
    assert zoe.api("POST", "users/zoe/server").status_code in (201, 202)
    wait_for(hub, "zoe")
    after = sorted({*containers()} - {f"{PREFIX}-zoe"}), sorted({*volumes()} - {f"{PREFIX}-user-zoe"})
    assert after == before
