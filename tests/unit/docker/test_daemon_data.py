"""Options of daemon.json that hide what Docker has, and those that break the deployment."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.docker import daemon_data
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

SEEN = {"running": True, "storage_driver": "overlay2", "containerd_images": False, "objects": {"containers": 3}}
STORE = {"features": {"containerd-snapshotter": True}}
# What can be known of a stopped Docker.
STOPPED = {**SEEN, "running": False, "storage_driver": ""}


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ({}, {"storage-driver": "vfs"}, "storage-driver (overlay2 → vfs)"),
        ({}, STORE, "features.containerd-snapshotter (false → true)"),
        ({}, {"userns-remap": "default"}, "userns-remap (unset → default)"),
        ({"userns-remap": "default"}, {}, "userns-remap (default → unset)"),
        ({"userns-remap": "a"}, {"userns-remap": "b"}, "userns-remap (a → b)"),
        ({}, {"graph": "/srv/docker"}, "graph (unset → /srv/docker)"),
        ({}, {"exec-root": "/run/other"}, "exec-root (/var/run/docker → /run/other)"),
        ({}, {"containerd": "/run/own.sock"}, "containerd (unset → /run/own.sock)"),
        ({}, {"containerd-namespace": "lab"}, "containerd-namespace (moby → lab)"),
        ({}, {"containerd-plugins-namespace": "lab"}, "containerd-plugins-namespace (plugins.moby → lab)"),
    ],
)
def test_options_that_hide_what_docker_has(before: dict[str, Any], after: dict[str, Any], change: str) -> None:
    assert daemon_data.hidden(before, after, SEEN) == [change]
    with pytest.raises(DeployError) as caught:
        daemon_data.refuse(before, after, SEEN)
    assert str(caught.value).startswith(f"{change} in docker_daemon_options would hide 3 containers of this host")
    assert "nothing was changed" in str(caught.value)
    daemon_data.refuse(before, after, {**SEEN, "objects": {"containers": 0, "images": 0, "volumes": 0}})


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ({"storage-driver": "vfs"}, {"storage-driver": "overlay2"}, "storage-driver (vfs → overlay2)"),
        (STORE, {}, "features.containerd-snapshotter (true → unset)"),
    ],
)
def test_the_file_counts_while_docker_is_stopped(before: dict[str, Any], after: dict[str, Any], change: str) -> None:
    assert daemon_data.hidden(before, after, STOPPED) == [change]
    assert daemon_data.hidden(before, before, STOPPED) == []


@pytest.mark.parametrize(
    ("before", "after", "more"),
    [
        ({}, {"storage-driver": "overlay2"}, {}),
        ({"storage-driver": "overlay2"}, {}, {}),
        ({}, STORE, {"containerd_images": True}),
        (STORE, {**STORE, "debug": True}, {"containerd_images": False}),  # written by somebody, and not applied
        ({}, {"features": {"buildkit": True}}, {}),
        ({}, {"containerd-namespace": "moby", "exec-root": "/var/run/docker"}, {}),
        ({}, {"iptables": False, "group": "staff", "cgroup-parent": "lab", "log-driver": "local", "mtu": 1400}, {}),
    ],
)
def test_options_that_change_nothing_of_it(before: dict[str, Any], after: dict[str, Any], more: dict[str, Any]) -> None:
    daemon_data.refuse(before, after, {**SEEN, **more})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"hosts": ["tcp://127.0.0.1:2375"]}, "hosts has no unix:///var/run/docker.sock"),
        ({"bridge": "none"}, "bridge is none"),
        ({"pidfile": "/run/x.pid"}, "pidfile is /run/x.pid"),
    ],
)
def test_options_that_break_the_deployment_are_refused_on_any_host(options: dict[str, Any], problem: str) -> None:
    seen = {**SEEN, "objects": {}}
    with pytest.raises(DeployError, match=f"docker_daemon_options: {problem}.*Nothing was changed"):
        daemon_data.refuse({}, options, seen)
    daemon_data.refuse(options, {**options, "debug": True}, seen)  # somebody else's, and it works


def test_user_namespaces_are_refused() -> None:
    with pytest.raises(DeployError, match="Docker's option userns-remap is default, with which no container can have"):
        daemon_data.require_host_network({"userns-remap": "default"})
    daemon_data.require_host_network({"userns-remap": ""})


SOCKET = "unix:///var/run/docker.sock"


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:2375", "tcp://[::]:2375", "tcp://hub.example.com:2376", "0.0.0.0"])
def test_docker_is_not_opened_to_other_machines_without_certificates(address: str) -> None:
    options = {"hosts": [SOCKET, address]}
    seen, verified = {**SEEN, "objects": {}}, {**options, "tlsverify": True}
    for before, after in (({}, options), ({}, {**options, "tls": True}), (verified, options)):
        with pytest.raises(DeployError, match=r"without tlsverify, so .*Nothing was changed") as caught:
            daemon_data.refuse(before, after, seen)
        assert f"hosts has {address} without" in str(caught.value)
    daemon_data.refuse({}, verified, seen)
    daemon_data.refuse(options, {**options, "debug": True}, seen)  # somebody else's


@pytest.mark.parametrize("address", ["tcp://127.0.0.2:2375", "tcp://[::1]:2375", "tcp://localhost:2375", "tcp://"])
def test_docker_may_serve_this_machine(address: str) -> None:
    daemon_data.refuse({}, {"hosts": [SOCKET, address]}, {**SEEN, "objects": {}})


@pytest.mark.parametrize("file", ["/run/docker.pid", "/var/run/docker.pid"])
@pytest.mark.parametrize("host", ["unix:///run/docker.sock", "unix:///var/run/docker.sock", "fd://"])
def test_other_values_of_the_same_options_are_accepted(file: str, host: str) -> None:
    options = {"hosts": [host, "tcp://127.0.0.1:2375"], "bridge": "br0", "pidfile": file}
    daemon_data.refuse({}, options, {**SEEN, "objects": {}})
