"""The result of `docker_engine_info`: Docker answers, does not answer, or is not installed."""

from __future__ import annotations

import http.server
import json
import os
import socket
import socketserver
import subprocess
import threading
import time
from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy import processes
from ansible.module_utils.jupyterhub_deploy.docker import daemon_control, daemon_info, daemon_plan
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.testing import patch_module_args

import docker_engine
import docker_engine_info

VERSION = {"Version": "26.1.5+dfsg1", "ApiVersion": "1.45", "Components": [{"Name": "Engine"}]}
INFO = {
    "DockerRootDir": "/srv/docker",
    "Driver": "overlay2",
    "LiveRestoreEnabled": True,
    "ContainersRunning": 2,
    "Debug": False,
    "Labels": [],
    "RegistryConfig": {
        "Mirrors": ["https://mirror.example.com/"],
        "InsecureRegistryCIDRs": ["127.0.0.0/8"],
        "IndexConfigs": {"registry.example.com:5000": {"Secure": False}},
    },
}


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def serve(path: Path, answers: dict[str, tuple[int, object]]) -> _UnixServer:
    """Answer HTTP on a Unix socket."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, content = answers[self.path]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def address_string(self):
            return "local"

        def log_message(self, *args):
            pass

    server = _UnixServer(str(path), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A separate host: without this machine's Docker, files and service manager."""
    monkeypatch.setattr(daemon_info, "BINARY_PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(daemon_info, "RECORD_FILE", str(tmp_path / "record.json"))
    monkeypatch.setattr(daemon_info, "ENABLED_LINK", str(tmp_path / "wants"))
    traits = {"systemd_booted": False, "pid1": "x", "initctl": False, "init_script": False, "capabilities": 0}
    monkeypatch.setattr(daemon_info, "host_traits", lambda: traits)
    paths = {name: str(tmp_path / name) for name in ("socket_path", "config_file", "pid_file")}
    observe = daemon_info.observe
    monkeypatch.setattr(daemon_info, "observe", lambda minimum: observe(minimum, **paths))
    return tmp_path


def run_module(module, capsys, **arguments):
    """Run a module's main() as Ansible would; return what it prints."""
    with patch_module_args(arguments), pytest.raises(SystemExit):
        module.main()
    return json.loads(capsys.readouterr().out)


def test_a_bare_host(places, capsys):
    seen = run_module(docker_engine_info, capsys)

    assert not seen["changed"]
    assert not seen["installed"]
    assert not seen["running"]
    assert seen["version"] == ""
    assert seen["plan"]["install"]
    assert seen["plan"]["steps"][0] == "install Docker 20.10 or newer"


def test_docker_that_answers(places, capsys):
    (places / "config_file").write_text('{"http-proxy": "http://alice:secret@proxy.example.com"}')
    with serve(places / "socket_path", {"/version": (200, VERSION), "/info": (200, INFO)}):
        seen = run_module(docker_engine_info, capsys, minimum_version="26")

    assert seen["running"]
    assert (seen["version"], seen["api_version"]) == ("26.1.5+dfsg1", "1.45")
    assert (seen["root_dir"], seen["storage_driver"]) == ("/srv/docker", "overlay2")
    assert (seen["live_restore"], seen["containers_running"]) == (True, 2)
    assert seen["config"]["options"] == ["http-proxy"]
    assert not seen["plan"]["install"]
    assert not seen["plan"]["configure"]
    assert "secret" not in json.dumps(seen)


def test_docker_that_is_not_running_has_its_version(places, capsys):
    (places / "bin").mkdir()
    program = places / "bin" / "dockerd"
    program.write_text("#!/bin/sh\necho 'Docker version 20.10.24+dfsg1, build 5d6db84'\n")
    program.chmod(0o755)

    seen = run_module(docker_engine_info, capsys)

    assert (seen["installed"], seen["running"], seen["version"]) == (True, False, "20.10.24+dfsg1")
    assert not seen["plan"]["install"]
    assert "start Docker" in seen["plan"]["steps"]


def test_podman_is_refused(places, capsys):
    podman = {"Version": "4.3.1", "ApiVersion": "1.41", "Components": [{"Name": "Podman Engine"}]}
    with serve(places / "socket_path", {"/version": (200, podman), "/info": (200, INFO)}):
        failed = run_module(docker_engine_info, capsys)

    assert failed["failed"]
    assert "belongs to Podman, not to Docker" in failed["msg"]
    assert "remove the package podman-docker" in failed["msg"]


def test_docker_that_hangs_is_an_error_and_does_not_count_as_missing(tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()  # the kernel accepts, no process answers

        with pytest.raises(DeployError, match=r"accepts connections on .* but does not answer within 0 s"):
            daemon_info.get("/version", path, timeout=0.1)


def test_an_error_of_docker_is_quoted(tmp_path):
    with (
        serve(tmp_path / "socket", {"/info": (500, {"message": "disk on fire"})}),
        pytest.raises(DeployError, match=r"Docker answers 500 to /info: .*disk on fire"),
    ):
        daemon_info.get("/info", str(tmp_path / "socket"))


def test_a_socket_without_a_listener_counts_as_no_docker(tmp_path):
    serve(tmp_path / "socket", {}).server_close()

    assert (tmp_path / "socket").exists()
    assert daemon_info.get("/version", str(tmp_path / "socket")) is None


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


def test_only_root_can_read_the_record(places):
    daemon_control.write_record(daemon_plan.Record())

    assert (places / "record.json").stat().st_mode & 0o777 == 0o600
    assert daemon_info.read_record(str(places / "record.json")) == daemon_plan.Record()


def test_daemon_json_is_readable_for_everybody_and_keeps_a_mode_that_somebody_gave_it(tmp_path):
    file = tmp_path / "docker" / "daemon.json"
    daemon_control.write_config(str(file), "{}")
    assert file.stat().st_mode & 0o777 == 0o644

    file.chmod(0o640)
    daemon_control.write_config(str(file), "new")

    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("options", "applied"),
    [
        ({"live-restore": True, "debug": False, "mtu": 1400}, True),
        ({"live-restore": False}, False),
        ({"registry-mirrors": ["https://mirror.example.com"]}, True),
        ({"registry-mirrors": ["https://other.example.com"]}, False),
        ({"insecure-registries": ["registry.example.com:5000", "192.0.2.0/24"]}, True),
        ({"insecure-registries": ["other.example.com"]}, False),
        ({"labels": ["rack=b"]}, False),
    ],
)
def test_a_reload_is_complete_when_docker_shows_the_options(options, applied):
    assert daemon_control.has_applied(INFO, options) is applied


NOTHING = daemon_plan.Plan(False, False, False, "none", False, {}, {}, [], [])


class TestDockerEngine:
    def test_a_snap_is_not_configured_by_a_file_that_it_does_not_read(self, places, capsys):
        with serve(places / "socket_path", {"/version": (200, VERSION), "/info": (200, INFO)}):
            failed = run_module(docker_engine, capsys, options={"mtu": 1400})

        assert "was installed in another way (as a snap, perhaps)" in failed["msg"]
        assert not (places / "config_file").exists()

    def test_check_mode_shows_the_file_without_passwords(self, places, capsys):
        wanted = {"http-proxy": "http://alice:secret@proxy.example.com"}

        result = run_module(docker_engine, capsys, options=wanted, _ansible_check_mode=True, _ansible_diff=True)

        assert result["changed"]
        assert "http://alice:********@proxy.example.com" in result["diff"]["after"]
        assert result["diff"]["before"] == ""
        assert "start Docker" in result["steps"]
        assert not (places / "config_file").exists()

    def test_missing_packages_are_reported(self, places, capsys):
        assert "dockerd is not installed on this host" in run_module(docker_engine, capsys)["msg"]

    def test_a_python_without_the_sdk_is_reported(self):
        seen = {
            "installed": True,
            "running": True,
            "installed_version": "",
            "version": "26.1",
            "sdk": {"importable": False, "python": "/opt/python/bin/python3"},
        }

        with pytest.raises(DeployError) as caught:
            docker_engine.require(seen, NOTHING, "20.10")
        assert "/opt/python/bin/python3 does not find it" in str(caught.value)
        assert "ansible_python_interpreter: /usr/bin/python3" in str(caught.value)
