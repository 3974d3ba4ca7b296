"""What `docker_engine` writes, refuses and rolls back, with a fake Docker."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.jupyterhub_deploy.docker import (
    daemon_api,
    daemon_control,
    daemon_info,
    daemon_log,
    daemon_plan,
)
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

import docker_engine
import docker_engine_info
from support.fake_docker import INFO, VERSION, install_dockerd, serve
from support.modules import run_module


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


NOTHING = daemon_plan.Plan(False, False, False, "none", False, {}, {}, [], [])


class TestDockerEngine:
    def test_a_snap_is_not_configured_by_a_file_that_it_does_not_read(self, places):
        with serve(places / "socket_path", {"/version": (200, VERSION), "/info": (200, INFO)}):
            failed = run_module(docker_engine, options={"mtu": 1400})

        assert "but not from a package of the host's system" in failed["msg"]
        assert not (places / "config_file").exists()

    def test_check_mode_shows_the_file_without_passwords(self, places):
        wanted = {"proxies": {"http-proxy": "http://alice:secret@proxy.example.com"}}

        result = run_module(docker_engine, options=wanted, check=True, diff=True)

        assert result["changed"]
        assert "http://alice:********@proxy.example.com" in result["diff"]["after"]
        assert result["diff"]["before"] == ""
        assert "start Docker" in result["steps"]
        assert not (places / "config_file").exists()

    def test_missing_packages_are_reported(self, places):
        assert "dockerd is not installed on this host" in run_module(docker_engine)["msg"]

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

    @pytest.mark.parametrize("module", [docker_engine, docker_engine_info])
    @pytest.mark.parametrize("check", [True, False])
    def test_options_that_dockerd_refuses_are_refused_before_anything_is_changed(self, places, module, check):
        install_dockerd(places, "23.0.1", "the following directives don't match any configuration option: live-restor")

        failed = run_module(module, options={"live-restor": True}, check=check)

        path = places / "config_file"
        assert failed["msg"] == (
            "Docker refuses these options, nothing was changed: "
            f"unable to configure the Docker daemon with file {path}: the following directives "
            "don't match any configuration option: live-restor. "
            "Correct live-restor in docker_daemon_options, and run again"
        )
        assert not path.exists()
        assert not (places / "record.json").exists()

    def test_a_file_that_is_not_changed_is_not_validated(self, places):
        install_dockerd(places, "23.0.1", "bad")
        (places / "config_file").write_text('{"mtu": "1400"}')

        assert "plan" in run_module(docker_engine_info)

    def test_a_docker_that_is_upgraded_first_is_not_asked(self, places):
        install_dockerd(places, "23.0.1", "bad")

        seen = run_module(docker_engine_info, minimum_version="26", options={"new-option": True})

        assert seen["plan"]["install"]

    def test_what_an_older_dockerd_does_not_start_with_is_rolled_back(self, places, monkeypatch):
        install_dockerd(places, "20.10.24", "cannot be asked")
        (places / "config_file").write_text('{"debug": true}')
        monkeypatch.setattr(daemon_log, "LOG_FILE", str(places / "dockerd.log"))
        monkeypatch.setattr(daemon_control, "CONTAINERD_PID_FILE", str(places / "containerd.pid"))
        monkeypatch.setattr(daemon_info, "PID_FILE", str(places / "pid_file"))
        monkeypatch.setattr(daemon_api, "get", lambda *arguments: None)
        monkeypatch.setattr(daemon_info, "sdk", lambda: {"importable": True, "version": "5.0.3", "python": "python3"})

        failed = run_module(docker_engine, options={"live-restor": True})

        assert "Docker stopped again. The end of its log" in failed["msg"]
        assert failed["msg"].endswith(
            f"{places / 'config_file'} is as it was before. Correct docker_daemon_options, or "
            f"{places / 'config_file'} on the host, and run again"
        )
        assert json.loads((places / "config_file").read_text()) == {"debug": True}
        assert daemon_info.read_record(daemon_info.RECORD_FILE) == daemon_plan.Record()


class TestReload:
    """The answer of `dockerd` to SIGHUP: an event when it accepted the file, else only a line in its log."""

    def reload(self, places, monkeypatch, events):
        monkeypatch.setattr(daemon_control, "RELOAD_TIMEOUT", 0.1)
        signals = []
        monkeypatch.setattr(daemon_control.os, "kill", lambda *arguments: signals.append(arguments))
        get, path = daemon_api.get, str(places / "socket")
        monkeypatch.setattr(daemon_api, "get", lambda query, **options: get("/events", path, **options))
        with serve(places / "socket", {"/events": (200, events)}):
            seen = {"pid": 42, "running": True, "live_restore": True}
            daemon_control.apply_action("reload", seen, {"debug": True}, timeout=1)
        assert signals == [(42, daemon_control.signal.SIGHUP)]

    def test_is_accepted_with_an_event(self, places, monkeypatch):
        self.reload(places, monkeypatch, {"Type": "daemon", "Action": "reload"})

    def test_is_refused_without_one(self, places, monkeypatch):
        with pytest.raises(DeployError, match=r"did not apply the new options after a reload\. The end of its log"):
            self.reload(places, monkeypatch, None)
