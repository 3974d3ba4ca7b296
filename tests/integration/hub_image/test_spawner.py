"""Names, labels and owners of what the hub creates for a user, on real Docker and with images of all kinds.

The images only sleep: what these tests check exists before a server answers.
"""

from __future__ import annotations

import html
import json
import os
import re
import secrets
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER, LABEL_USER_SINCE
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

from hosts.run import name as run_name
from support.signin_hub import NO_PROXY, HubContainer, docker, names_of, write_config

TOKEN = secrets.token_hex(16)
WORK = "/home/jovyan/work"
RUNS = ["sleep", "600"]
EXTRA = f"""{NO_PROXY}
c.JupyterHub.services = [{{"name": "test", "api_token": "{TOKEN}"}}]
c.JupyterHub.load_roles = [
    {{"name": "test", "services": ["test"], "scopes": ["admin:users", "admin:servers", "admin:groups"]}}
]
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
c.DockerSpawner.allowed_images = "*"  # one hub for all images
c.HubSpawner.concurrent_starts = 0  # their servers never answer
# An assignment, and a list that replaces the user's volume in the library.
c.DockerSpawner.extra_host_config = {{"shm_size": "96m", "binds": ["/usr/share/doc:/srv/doc:ro"]}}
c.HubSpawner.group_limits = {{"gpu": {{"memory": 1 << 40, "cpu": 1.5, "pids": 100}}}}
c.JupyterHub.authenticator_class = "dummy"  # native accounts refuse names of other authenticators


def hurry(spawner):
    if spawner.user.name == "late":
        spawner.http_timeout = 3
    if spawner.user.name == "later":
        spawner.start_timeout = 24
    if spawner.user.name == "stubborn":
        spawner.extra_create_kwargs = {{"stop_timeout": 60}}
    if spawner.user.name == "function":
        spawner.extra_host_config = lambda spawner: {{"binds": [f"work-{{spawner.user.name}}:/work"]}}
    if spawner.user.name in ("hooked", "mounted", "read-only", "bound"):
        source = f"{{spawner.hub_name}}-home-{{spawner.user.name}}"
        if spawner.user.name == "hooked":
            spawner.volumes = {{**spawner.volumes, source: "/extra"}}
        if spawner.user.name == "mounted":
            spawner.mounts = [{{"type": "volume", "source": source, "target": "/extra"}}]
        if spawner.user.name == "read-only":
            spawner.read_only_volumes = {{source: "/extra"}}
        if spawner.user.name == "bound":
            spawner.extra_host_config = {{**spawner.extra_host_config, "binds": [f"{{source}}:/extra"]}}
    if spawner.user.name == "templated":
        spawner.volumes = {{**spawner.volumes, f"{{spawner.hub_name}}-home-{{{{username}}}}": "/extra"}}
    if spawner.user.name in ("renamed", "ending-start-script"):
        spawner.environment = {{**spawner.environment, "NB_UID": "1001"}}
    if spawner.user.name == "renamed":
        spawner.extra_create_kwargs = {{"user": "root"}}
        cap_add = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"]
        spawner.extra_host_config = {{**spawner.extra_host_config, "cap_add": cap_add}}
    if spawner.user.name == "lodger":
        spawner.volumes = {{"/srv/homes/lodger": "{WORK}"}}
    if spawner.user.name == "member":
        spawner.volumes = {{
            **spawner.volumes,
            f"{{spawner.hub_name}}-course": "/course",
            f"{{spawner.hub_name}}-library": {{"bind": "/library", "mode": "ro"}},
        }}


c.Spawner.pre_spawn_hook = hurry
"""
#: Kinds of notebook images by their mount point: lines of a Dockerfile, and the user of the container.
IMAGES = {
    "no-directory": ("RUN useradd -u 1000 -g 100 jovyan\nUSER jovyan", "1000:100"),
    "directory-of-root": (f"RUN useradd -u 1000 -g 100 jovyan && mkdir -p {WORK}\nUSER 1000", "1000:100"),
    "directory-of-user": (
        f"RUN useradd -u 1000 -g 100 jovyan && mkdir -p {WORK} && touch {WORK}/from-image && chown -R 1000:100 {WORK}\n"
        "USER jovyan",
        "1000:100",
    ),
    "no-account": ("USER 4321", "4321:0"),
    "named-group": ("RUN groupadd -g 4000 teachers && useradd -u 1500 student\nUSER student:teachers", "1500:4000"),
    "root": ("USER root", "0:0"),
}
#: Images whose servers do not start: lines of a Dockerfile after the others, and what the user is told.
ENDING = {
    "ends": ('CMD ["python3", "-c", "print(1234 * 2)"]', ["ended with exit code 0", "python3 -c", "2468"]),
    "fails": ('CMD ["sh", "-c", "echo no room >&2; exit 3"]', ["ended with exit code 3", "no room"]),
    "later": ('CMD ["sh", "-c", "sleep 4; exit 5"]', ["ended with exit code 5", "Its log is empty."]),
    # As docker-stacks' start.sh with NB_UID and CHOWN_HOME, which needs capabilities.
    "start-script": (
        f"RUN useradd -u 1000 jovyan && mkdir -p {WORK}\n"
        'CMD ["sh", "-c", "usermod -u $NB_UID jovyan && chown -R jovyan /home/jovyan && '
        'exec setpriv --reuid jovyan --clear-groups sleep 600"]',
        ["ended with exit code", "Operation not permitted"],
    ),
    "no-such-program": ('CMD ["no-such-program"]', ["Docker could not start the server", "no-such-program"]),
}


class SpawnerHub:
    """A hub with Docker's socket, under a name of its own."""

    def __init__(self, hub_image: str, directory: Path, extra: str = "") -> None:
        self.prefix = run_name(f"spawner-{uuid.uuid4().hex[:8]}")
        self.hub_image = hub_image
        self.built: dict[str, str] = {}
        write_config(directory, EXTRA + extra, names_of(self.prefix))
        self.hub = HubContainer(hub_image, directory, socket=True)

    def image(self, kind: str) -> str:
        """Build an image of a kind of IMAGES, once."""
        if kind not in self.built:
            command = ENDING[kind][0] if kind in ENDING else f"{IMAGES[kind][0]}\nCMD {json.dumps(RUNS)}"
            lines = f"FROM {self.hub_image}\nUSER root\nENTRYPOINT []\n{command}\n"
            self.built[kind] = f"{self.prefix}:{kind}"
            docker("build", "--quiet", "--tag", self.built[kind], "-", stdin=lines)
        return self.built[kind]

    def api(self, method: str, path: str, **options: Any) -> requests.Response:
        """Call the hub's API as an administrator."""
        headers = {"Authorization": f"token {TOKEN}"}
        return requests.request(method, self.hub.url + "api/" + path, headers=headers, timeout=30, **options)

    def request(self, user: str, **options: str) -> requests.Response:
        """Request the server of a new `user`."""
        self.api("POST", f"users/{quote(user, safe='')}")
        return self.api("POST", f"users/{quote(user, safe='')}/server", json=options)

    def spawn(self, user: str, kind: str = "no-directory") -> str:
        """Start the server of `user` with an image of a kind of IMAGES; return the container's name when it runs."""
        answer = self.request(user, image=self.image(kind))
        assert answer.status_code in (201, 202), answer.text
        for _ in range(100):
            names = self.containers(user)
            if names:
                return names[0]
            time.sleep(0.1)
        raise AssertionError(f"no container for {user}:\n{self.hub.logs()}")

    def containers(self, user: str) -> list[str]:
        """Return the names of the user's containers at this hub: another hub may have a user of that name."""
        labels = {LABEL_HUB: self.prefix, LABEL_USER: user}
        filters = [part for label in labels.items() for part in ("--filter", f"label={'='.join(label)}")]
        return docker("ps", *filters, "--format", "{{.Names}}").stdout.split()

    def since(self, user: str) -> str:
        """Return when the user was added to the hub, in seconds."""
        created = str(self.api("GET", f"users/{quote(user, safe='')}").json()["created"])
        return created.partition(".")[0]

    def logged(self, text: str) -> bool:
        """Wait for the hub to log `text`."""
        for _ in range(100):
            if text in self.hub.logs():
                return True
            time.sleep(0.1)
        return False

    def stop(self, user: str) -> None:
        """Remove the container, as Docker does when a server ends."""
        docker("rm", "--force", *self.containers(user), check=False)

    def remove(self) -> None:
        """Remove the hub, its servers, volumes and images."""
        self.hub.remove()
        containers = docker("ps", "--all", "--quiet", "--filter", f"name=^{self.prefix}-").stdout.split()
        if containers:
            docker("rm", "--force", "--volumes", *containers)
        found = docker("volume", "ls", "--quiet", "--filter", f"name=^{self.prefix}-").stdout.split()
        if found:
            docker("volume", "rm", *found)
        for image in self.built.values():
            docker("rmi", "--force", image, check=False)


@pytest.fixture(scope="module")
def site(hub_image: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpawnerHub]:
    """One hub for the tests of this file."""
    made = SpawnerHub(hub_image("5.5.4"), tmp_path_factory.mktemp("spawner"))
    try:
        made.hub.start()
        yield made
    finally:
        made.remove()


def labels_of(site: SpawnerHub, user: str) -> list[str]:
    """Return the options of ``docker`` that label a volume or container as the user's."""
    return ["--label", f"{LABEL_HUB}={site.prefix}", "--label", f"{LABEL_USER}={user}"]


def inside(container: str, command: str) -> str:
    """Run a shell command as the user that the container runs as."""
    return docker("exec", container, "sh", "-c", command).stdout.strip()


@pytest.mark.parametrize("kind", IMAGES)
def test_a_new_volume_is_writable_whatever_the_image(site: SpawnerHub, kind: str) -> None:
    container = site.spawn(f"user-{kind}", kind)
    assert inside(container, f"touch {WORK}/mine && stat -c %u:%g {WORK}") == IMAGES[kind][1]
    if kind == "directory-of-user":
        assert inside(container, f"ls {WORK}").split() == ["from-image", "mine"]
    site.stop(f"user-{kind}")


def test_a_volume_that_has_an_owner_keeps_it(site: SpawnerHub) -> None:
    volume = f"{site.prefix}-user-owned"
    docker("volume", "create", *labels_of(site, "owned"), volume)
    setup = "chown 7777:7777 /v && touch /v/theirs && chown 0:0 /v/theirs"
    docker("run", "--rm", "--volume", f"{volume}:/v", site.hub_image, "sh", "-c", setup)
    container = site.spawn("owned")
    assert inside(container, f"stat -c %u:%g {WORK} {WORK}/theirs").split() == ["7777:7777", "0:0"]
    notice = f"The files in {WORK} are read-only: they belong to user 7777, and this image runs as user 1000."
    assert site.logged(notice)
    site.stop("owned")
    assert notice in site.api("GET", "users/owned/server/progress").text


def test_a_shared_volume_keeps_its_owner_and_the_user_is_told(site: SpawnerHub) -> None:
    container = site.spawn("member")
    notice = "The files in /course are read-only: they belong to user 0, and this image runs as user 1000."
    assert site.logged(notice)
    assert inside(container, f"stat -c %u {WORK} /course /library").split() == ["1000", "0", "0"]
    assert "The files in /library" not in site.hub.logs()
    site.stop("member")


def test_a_directory_of_the_host_belongs_to_the_user_unless_it_has_an_owner(hub_image: Any, tmp_path: Path) -> None:
    """The next user of a name would get it, so only the playbook deletes users."""
    homes = Path("/var/tmp", run_name("homes"))
    volumes = {
        f"{homes}/{{username}}": WORK,
        f"{homes}/{{username}}.key": "/key",
        f"{homes}/shared-resident": "/shared",
    }
    site = SpawnerHub(hub_image("5.5.4"), tmp_path, f"c.DockerSpawner.volumes = {volumes}\n")
    try:
        site.hub.start()
        (homes / "guest").mkdir(parents=True)
        os.chown(homes / "guest", 7777, 7777)
        for user in ("resident", "guest"):
            (homes / f"{user}.key").touch()
        container = site.spawn("resident")
        assert inside(container, f"touch {WORK}/mine && stat -c %u:%g {WORK} /shared").split() == ["1000:100", "0:0"]
        assert (homes / "resident/mine").stat().st_uid == 1000
        site.spawn("guest")
        assert site.logged(f"The files in {WORK} are read-only: they belong to user 7777, and this image runs as")
        assert "The files in /shared" not in site.hub.logs()
        answer = site.api("DELETE", "users/resident")
        assert (answer.status_code, site.containers("resident")) == (400, [container])
        assert f"would get the directory {homes}/resident. Delete users on the command line" in answer.text
        for user in ("resident", "guest"):
            site.stop(user)
    finally:
        site.remove()
        shutil.rmtree(homes, ignore_errors=True)


def test_a_volume_of_root_with_files_changes_its_owner_but_not_its_files(site: SpawnerHub) -> None:
    volume = f"{site.prefix}-user-restored"
    docker("volume", "create", *labels_of(site, "restored"), volume)
    # So large that Docker is still sending it when the spawner has read the first entry.
    setup = "mkdir -m 700 /v/d && head -c 64M /dev/zero > /v/big && chmod 2750 /v"
    docker("run", "--rm", "--volume", f"{volume}:/v", site.hub_image, "sh", "-c", setup)
    container = site.spawn("restored")
    assert inside(container, f"stat -c %u:%g:%a {WORK} {WORK}/d {WORK}/big").split() == [
        "1000:100:2750", "0:0:700", "0:0:644"
    ]  # fmt: skip
    site.stop("restored")


@pytest.mark.parametrize(
    ("user", "part"),
    [
        ("alice", "alice"),
        ("alice.b@example.com", "alice-2eb-40example-2ecom"),
        ("Großmann_x", "gro-c3-9fmann-5fx"),
        ("github:alice", "github-3aalice"),
        ("x" * 250, "x" * 93 + "---" + "086d4a1c293bde318dc1fec9a21b9d82"),
    ],
)
def test_names_and_labels(site: SpawnerHub, user: str, part: str) -> None:
    user = user.lower()
    container = site.spawn(user)
    assert container == f"{site.prefix}-{part}"
    state = json.loads(docker("inspect", container).stdout)[0]
    volumes = [mount["Name"] for mount in state["Mounts"] if mount["Type"] == "volume"]
    assert volumes == [f"{site.prefix}-user-{part}"]
    labels = {LABEL_HUB: site.prefix, LABEL_USER: user}
    assert state["Config"]["Labels"].items() >= labels.items()
    volume = json.loads(docker("volume", "inspect", f"{site.prefix}-user-{part}").stdout)[0]
    assert volume["Labels"] == {**labels, LABEL_USER_SINCE: site.since(user)}
    assert state["HostConfig"]["CapDrop"] == ["ALL"]
    assert state["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]
    assert state["HostConfig"]["AutoRemove"] is False
    assert state["HostConfig"]["ShmSize"] == 96 << 20
    assert "/usr/share/doc:/srv/doc:ro" in state["HostConfig"]["Binds"]
    site.stop(user)


def limits_of(site: SpawnerHub, user: str) -> dict[str, Any]:
    """Start the server of `user`; return what it can use, and its environment's memory limit."""
    state = json.loads(docker("inspect", site.spawn(user)).stdout)[0]
    site.stop(user)
    site.api("DELETE", f"users/{user}/server")
    names = ("Memory", "MemorySwap", "CpuQuota", "PidsLimit", "ShmSize", "OomScoreAdj")
    told = [entry for entry in state["Config"]["Env"] if entry.startswith("MEM_LIMIT=")]
    return {**{name: state["HostConfig"][name] for name in names}, "told": told}


def test_limits_are_the_largest_of_the_hub_and_of_the_groups_at_each_start(site: SpawnerHub) -> None:
    # Half of the memory of the host; the operator's own shm_size in extra_host_config.
    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    hub = {
        "Memory": half, "MemorySwap": half, "CpuQuota": 0, "PidsLimit": 4096, "ShmSize": 96 << 20, "OomScoreAdj": 500,
        "told": [f"MEM_LIMIT={half}"],
    }  # fmt: skip
    assert limits_of(site, "gregor") == hub
    site.api("POST", "groups/gpu")
    site.api("POST", "groups/gpu/users", json={"users": ["gregor"]})
    most = 1 << 40
    of_group = {"Memory": most, "MemorySwap": most, "told": [f"MEM_LIMIT={most}"]}
    assert limits_of(site, "gregor") == {**hub, **of_group}
    site.api("DELETE", "groups/gpu/users", json={"users": ["gregor"]})
    assert limits_of(site, "gregor") == hub


def test_a_user_of_that_name_at_another_hub_is_left_alone(site: SpawnerHub) -> None:
    other = f"{site.prefix}-other"
    labels = ["--label", f"{LABEL_HUB}=other", "--label", f"{LABEL_USER}=bob"]
    docker("run", "--detach", "--name", other, *labels, site.hub_image, "sleep", "600")
    assert site.spawn("bob") == f"{site.prefix}-bob"
    site.stop("bob")
    assert docker("inspect", "--format", "{{.State.Status}}", other).stdout.strip() == "running"


def test_a_volume_of_another_hub_is_refused(site: SpawnerHub) -> None:
    labels = ["--label", f"{LABEL_HUB}=other", "--label", f"{LABEL_USER}=shared"]
    docker("volume", "create", *labels, f"{site.prefix}-user-shared")
    site.request("shared", image=site.image("no-directory"))
    assert site.logged("belongs to 'other'")


def test_a_volume_with_another_users_label_is_refused(site: SpawnerHub) -> None:
    docker("volume", "create", "--label", f"{LABEL_USER}=mallory", f"{site.prefix}-user-taken")
    site.request("taken", image=site.image("no-directory"))
    assert site.logged("belongs to 'mallory'")


@pytest.mark.parametrize("label", [None, LABEL_HUB, LABEL_USER])
def test_a_volume_without_the_users_labels_is_not_given_to_who_signs_up(site: SpawnerHub, label: str | None) -> None:
    """It may have been there before the user. The labels that an administrator adds are what the hub itself sets."""
    user = f"anna-{(label or 'none').rpartition('.')[2]}"
    volume = f"{site.prefix}-user-{user.replace('-', '-2d')}"
    labels = {LABEL_HUB: site.prefix, LABEL_USER: user}
    docker("volume", "create", *(["--label", f"{label}={labels[label]}"] if label else []), volume)
    site.request(user, image=site.image("no-directory"))
    assert site.logged(f"The volume {volume} exists already, and has no label that says whose it is.")
    assert site.containers(user) == []

    docker("volume", "rm", volume)
    docker("volume", "create", *labels_of(site, user), volume)
    site.spawn(user)
    site.stop(user)


def test_the_volume_of_a_deleted_user_is_not_given_to_the_next_one_of_that_name(site: SpawnerHub) -> None:
    container = site.spawn("ines")
    inside(container, f"touch {WORK}/private")
    site.stop("ines")
    site.api("DELETE", "users/ines/server")
    assert site.spawn("ines"), "the user herself gets it each time"
    site.stop("ines")
    site.api("DELETE", "users/ines/server")
    time.sleep(1)  # the label has seconds
    assert site.api("DELETE", "users/ines").status_code == 204
    site.request("ines", image=site.image("no-directory"))
    assert site.logged(f"The volume {site.prefix}-user-ines belongs to an earlier user of this name, who was deleted.")
    assert site.containers("ines") == []


def test_a_forgotten_user_who_is_added_again_gets_the_volume(site: SpawnerHub) -> None:
    """Without native accounts, there is no table of sign-ups."""
    record = json.dumps({"backup": "2020-01-01T00:00:00", "restored": "2020-01-02T00:00:00"})
    docker("exec", "--interactive", site.hub.name, "sh", "-c", "cat > /data/restored.json", stdin=record)
    since = ["--label", f"{LABEL_USER_SINCE}=2020-01-01T12:00:00"]
    docker("volume", "create", *labels_of(site, "jana"), *since, f"{site.prefix}-user-jana")
    assert site.spawn("jana")
    site.stop("jana")
    docker("exec", site.hub.name, "rm", "/data/restored.json")


def test_somebody_elses_container_with_the_name_of_a_server_is_kept(site: SpawnerHub) -> None:
    container = f"{site.prefix}-erin"
    docker("run", "--detach", "--name", container, site.hub_image, "sleep", "600")
    site.request("erin", image=site.image("no-directory"))
    assert site.logged(f"The container {container} exists already, and does not belong to this user of this hub.")
    assert docker("inspect", "--format", "{{.State.Status}}", container).stdout.strip() == "running"

    docker("rm", "--force", container)
    assert site.spawn("erin") == container
    site.stop("erin")


def test_a_missing_image_is_not_pulled_and_named(site: SpawnerHub) -> None:
    site.request("early")  # with the default image of HubContainer, example/notebook:1
    assert site.logged("The notebook image example/notebook:1 is not on this hub's host.")
    assert "pulling" not in site.hub.logs()


def test_a_volume_of_the_user_from_a_function_of_the_operator_is_refused(site: SpawnerHub) -> None:
    site.request("function", image=site.image("no-directory"))
    assert site.logged("the next user of a name would get the volume work-function of the earlier one")
    assert site.containers("function") == []


@pytest.mark.parametrize("user", ["hooked", "mounted", "read-only", "bound"])
def test_a_volume_of_the_user_from_a_hook_that_cannot_be_labeled_is_refused(site: SpawnerHub, user: str) -> None:
    site.request(user, image=site.image("no-directory"))
    volume = f"{site.prefix}-home-{user}"
    assert site.logged(f"the next user of a name would get the volume {volume} of the earlier one")
    assert site.containers(user) == []


def test_a_directory_of_the_user_from_a_hook_is_refused(site: SpawnerHub) -> None:
    site.request("lodger", image=site.image("no-directory"))
    assert site.logged("backups and the deletion of users do not know the directory /srv/homes/lodger, and the next")
    assert site.containers("lodger") == []


def test_a_volume_of_the_user_from_a_hook_is_labeled(site: SpawnerHub) -> None:
    volume = f"{site.prefix}-home-templated"
    site.spawn("templated")
    site.stop("templated")
    labels = json.loads(docker("volume", "inspect", "--format", "{{json .Labels}}", volume).stdout)
    assert (labels[LABEL_HUB], labels[LABEL_USER]) == (site.prefix, "templated")

    # The next user of the name, after a deletion on the page Admin.
    assert site.api("DELETE", "users/templated").status_code == 204
    docker("volume", "rm", f"{site.prefix}-user-templated")
    time.sleep(1)  # what tells users of one name apart has whole seconds
    site.request("templated", image=site.image("no-directory"))
    assert site.logged(f"The volume {volume} belongs to an earlier user of this name, who was deleted.")
    assert site.containers("templated") == []


def test_a_start_script_changes_the_user_with_the_capabilities_in_the_docs(site: SpawnerHub) -> None:
    container = site.spawn("renamed", "start-script")
    assert wait_until(lambda: inside(container, f"stat -c %u {WORK}") == "1001", 20)
    assert inside(container, "grep Uid /proc/1/status").split() == ["Uid:", *["1001"] * 4]
    site.stop("renamed")


@pytest.mark.parametrize("kind", ENDING)
def test_a_server_that_ends_is_noticed_at_once_and_its_log_is_shown(site: SpawnerHub, kind: str) -> None:
    image, began = site.image(kind), time.monotonic()
    user = f"ending-{kind}"
    assert site.request(user, image=image).status_code in (202, 500)
    progress = site.api("GET", f"users/{user}/server/progress").text
    assert time.monotonic() - began < 110  # http_timeout is 120
    shown = json.loads(progress.strip().splitlines()[-1].partition("data: ")[2])
    assert shown["failed"]
    for text in ENDING[kind][1]:
        assert text in html.unescape(shown.get("html_message") or shown["message"])
        assert site.logged(text)
    assert "InvalidStateError" not in site.hub.logs()
    names = docker("ps", "--all", "--filter", f"label={LABEL_USER}={user}", "--format", "{{.Names}}").stdout.split()
    assert [name for name in names if name.startswith(site.prefix)] == []


@pytest.mark.parametrize(  # http_timeout, start_timeout
    ("user", "seconds"), [("late", "3"), pytest.param("later", "[1-4]", marks=pytest.mark.long)]
)
def test_a_server_that_runs_and_does_not_answer_is_removed(site: SpawnerHub, user: str, seconds: str) -> None:
    assert site.request(user, image=site.image("no-directory")).status_code in (202, 500)
    progress = site.api("GET", f"users/{user}/server/progress").text
    shown = json.loads(progress.strip().splitlines()[-1].partition("data: ")[2])
    assert shown["failed"]
    text = " ".join(html.unescape(shown.get("html_message") or shown["message"]).split())
    assert re.search(rf"The server did not answer within {seconds} seconds\. Its log is empty\.", text), text
    assert site.containers(user) == []


def test_a_server_that_does_not_stop_delays_no_other_start(site: SpawnerHub) -> None:
    """Its first process ignores the signal, so Docker waits before it kills the container."""
    site.spawn("stubborn")
    stop = threading.Thread(target=site.api, args=("DELETE", "users/stubborn/server"))
    stop.start()
    assert site.logged(f"Stopping container {site.prefix}-stubborn")
    site.spawn("hasty")
    assert site.containers("stubborn"), "Docker does not wait any more"
    site.stop("stubborn")
    stop.join()
    site.stop("hasty")


def test_the_address_of_a_server_is_saved_before_it_answers(site: SpawnerHub) -> None:
    """A hub that takes over during the start finds the server there."""
    published = docker("port", site.spawn("slow"), "8888/tcp").stdout.split(":")[-1]
    query = (
        "SELECT servers.port FROM servers JOIN spawners ON spawners.server_id = servers.id "
        "JOIN users ON users.id = spawners.user_id WHERE users.name = 'slow'"
    )
    end = time.monotonic() + 10
    while (found := site.hub.sql(query)) != [[int(published)]]:
        assert time.monotonic() < end, found
        time.sleep(0.2)
    site.stop("slow")
