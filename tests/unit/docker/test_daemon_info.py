"""The result of `docker_engine_info`: Docker answers, does not answer, or is not installed."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy import processes
from ansible.module_utils.jupyterhub_deploy.docker import daemon_info
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

import docker_engine_info
import jupyterhub_host_info
from support.fake_docker import INFO, VERSION, install_dockerd, serve
from support.modules import run_module

SNAPSHOTTER = [["driver-type", "io.containerd.snapshotter.v1"]]


def test_a_bare_host(places):
    seen = run_module(docker_engine_info)

    assert not seen["changed"]
    assert not seen["installed"]
    assert not seen["running"]
    assert seen["version"] == ""
    assert seen["plan"]["install"]
    assert seen["plan"]["steps"][0] == "install Docker 20.10 or newer"


def test_docker_that_answers(places):
    (places / "config_file").write_text('{"http-proxy": "http://alice:secret@proxy.example.com"}')
    with serve(places / "socket_path", {"/version": (200, VERSION), "/info": (200, INFO)}):
        seen = run_module(docker_engine_info, minimum_version="26")

    assert seen["running"]
    assert (seen["version"], seen["api_version"]) == ("26.1.5+dfsg1", "1.45")
    assert (seen["root_dir"], seen["storage_driver"]) == ("/srv/docker", "overlay2")
    assert (seen["live_restore"], seen["containers_running"]) == (True, 2)
    assert (seen["objects"], seen["containerd_images"]) == ({"containers": 4, "images": 3}, False)
    assert seen["config"]["options"] == ["http-proxy"]
    assert not seen["plan"]["install"]
    assert not seen["plan"]["configure"]
    assert "secret" not in json.dumps(seen)


@pytest.mark.parametrize(
    ("states", "interrupted"),
    [
        ("installed\\nunpacked\\n", True),
        ("half-configured\\n", True),
        ("installed\\nnot-installed\\n", False),
        ("", False),
    ],
)
def test_an_interrupted_installation_counts_as_none(places, states, interrupted):
    install_dockerd(places, "20.10.24+dfsg1")
    query = Path(str(daemon_info.find_dockerd())).with_name("dpkg-query")
    query.write_text(f"#!/bin/sh\nprintf '{states}'\nexit 1\n")
    query.chmod(0o755)

    seen = run_module(docker_engine_info)
    assert (seen["interrupted"], seen["installed"], seen["plan"]["install"]) == (
        interrupted,
        not interrupted,
        interrupted,
    )


def test_docker_that_is_not_running_has_its_version(places):
    install_dockerd(places, "20.10.24+dfsg1")

    seen = run_module(docker_engine_info)

    assert (seen["installed"], seen["running"], seen["version"]) == (True, False, "20.10.24+dfsg1")
    assert not seen["plan"]["install"]
    assert "start Docker" in seen["plan"]["steps"]


@pytest.mark.parametrize(
    ("config", "options", "expected"),
    [
        ('{"debug": true}', {}, True),
        ('{"debug": true}', {"debug": True}, True),
        ("{}", {"debug": True}, False),  # a change
        ("no JSON", {}, False),  # a warning
        ("no JSON", {"debug": True}, False),  # an error
    ],
)
def test_docker_is_ready_when_there_is_nothing_to_do_or_to_report(places, config, options, expected):
    (places / "config_file").write_text(config)
    wanted = {"minimum_version": "26", "defaults": {}, "options": options}
    with serve(places / "socket_path", {"/version": (200, VERSION), "/info": (200, INFO)}):
        assert jupyterhub_host_info.docker_ready(wanted) is expected
    assert not jupyterhub_host_info.docker_ready(wanted)  # does not answer


def test_podman_is_refused(places):
    podman = {"Version": "4.3.1", "ApiVersion": "1.41", "Components": [{"Name": "Podman Engine"}]}
    with serve(places / "socket_path", {"/version": (200, podman), "/info": (200, INFO)}):
        failed = run_module(docker_engine_info)

    assert failed["failed"]
    assert "belongs to Podman, not to Docker" in failed["msg"]
    assert "remove the package podman-docker" in failed["msg"]


class TestPidFile:
    def test_contains_the_id_of_a_running_process_of_that_program(self, tmp_path):
        program = tmp_path / "dockerd"
        program.symlink_to("/bin/sleep")
        with subprocess.Popen([str(program), "60"]) as process:
            (tmp_path / "pid").write_text(f"{process.pid}\n")
            # Popen returns a moment before the kernel has the new program's command line.
            while not Path(f"/proc/{process.pid}/cmdline").read_bytes():
                time.sleep(0.01)
            try:
                assert processes.process_of(str(tmp_path / "pid"), "dockerd") == process.pid
                assert daemon_info.arguments_of(process.pid) == ["60"]
            finally:
                process.kill()
        assert processes.process_of(str(tmp_path / "pid"), "dockerd") is None

    def test_of_another_program_is_stale(self, tmp_path):
        (tmp_path / "pid").write_text(str(os.getpid()))

        assert processes.process_of(str(tmp_path / "pid"), "dockerd") is None

    @pytest.mark.parametrize("content", ["", "nonsense"])
    def test_without_a_number_is_stale(self, tmp_path, content):
        (tmp_path / "pid").write_text(content)

        assert processes.process_of(str(tmp_path / "pid"), "dockerd") is None


def test_a_directory_does_not_count_as_the_sdk(tmp_path, monkeypatch):
    # Left over by an uninstalled package, or a directory with compose files.
    (tmp_path / "docker").mkdir()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    for name in ("docker", "requests"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)

    assert daemon_info.sdk()["importable"] is False


def test_a_damaged_record_is_an_error_with_the_next_step(tmp_path):
    (tmp_path / "record").write_text('{"managed": tr')

    with pytest.raises(DeployError, match=r"is damaged .* remove it; Docker then counts as installed by somebody else"):
        daemon_info.read_record(str(tmp_path / "record"))


def test_a_record_with_only_managed_is_valid(tmp_path):
    # The role writes this before it installs the packages.
    (tmp_path / "record").write_text('{"managed": true}')

    assert daemon_info.read_record(str(tmp_path / "record")).managed


def test_volumes_count_when_docker_has_nothing_else(tmp_path):
    volumes = {"Volumes": [{"Name": "a"}, {"Name": "b"}]}
    with serve(tmp_path / "socket", {"/volumes": (200, volumes)}):
        data = daemon_info.data_of({"Driver": "overlayfs", "DriverStatus": SNAPSHOTTER}, str(tmp_path / "socket"))
    assert data["objects"] == {"containers": 0, "images": 0, "volumes": 2}
    assert data["containerd_images"]


def test_what_a_stopped_docker_has_is_in_its_directory(tmp_path):
    assert daemon_info.data_on_disk(str(tmp_path / "missing"))["objects"] == {
        "containers": 0, "image layers": 0, "volumes": 0
    }  # fmt: skip
    for path in (
        "containers/1a", "volumes/x", "image/overlay2/layerdb/sha256/1", "image/vfs/layerdb",
        "100000.100000/volumes/y", "100000.100000/image/overlay2/layerdb/sha256/2",  # with userns-remap
    ):  # fmt: skip
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "volumes/metadata.db").touch()
    data = daemon_info.data_on_disk(str(tmp_path))
    assert data["objects"] == {"containers": 1, "image layers": 2, "volumes": 2}
    assert data["storage_driver"] == "overlay2"


@pytest.mark.parametrize(
    ("arguments", "options", "expected"),
    [
        ([], {}, None),
        ([], {"mtu": 1450}, 1450),
        (["--mtu", "1400"], {"mtu": 1450}, "1400"),
        (["--config-file=other.json"], {"mtu": 1450}, 1300),
    ],
)
def test_an_option_is_in_the_file_or_on_the_command_line(tmp_path, monkeypatch, arguments, options, expected):
    monkeypatch.chdir(tmp_path)
    Path("daemon.json").write_text(json.dumps(options))
    Path("other.json").write_text('{"mtu": 1300}')
    monkeypatch.setattr(processes, "process_of", lambda *_: 1)
    monkeypatch.setattr(daemon_info, "arguments_of", lambda _: arguments)
    assert daemon_info.option("mtu", "daemon.json") == expected


@pytest.mark.parametrize(
    ("options", "root"),
    [({}, "/var/lib/docker"), ({"graph": "/srv/old"}, "/srv/old"), ({"data-root": "/srv/new"}, "/srv/new")],
)
def test_the_directory_of_a_stopped_docker(options, root):
    assert daemon_info.data_root(options) == root
