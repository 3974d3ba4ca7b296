"""The plan for Docker on a host, and when Docker is not changed."""

from __future__ import annotations

import pytest
from ansible.module_utils.jupyterhub_deploy.docker import daemon_plan
from ansible.module_utils.jupyterhub_deploy.docker.daemon_plan import Record
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

DEFAULTS = {"live-restore": True}
BARE = {
    "installed": False,
    "dockerd": "",
    "installed_version": "",
    "running": False,
    "version": "",
    "api_version": "",
    "pid": None,
    "arguments": [],
    "root_dir": "",
    "storage_driver": "",
    "objects": {},
    "containerd_images": False,
    "live_restore": False,
    "containers_running": 0,
    "service_manager": "none",
    "enabled": False,
    "config": {"path": "/etc/docker/daemon.json", "exists": False, "options": {}, "error": ""},
    "sdk": {"importable": False, "version": "", "python": "/usr/bin/python3"},
}
RUNNING = {
    **BARE,
    "installed": True,
    "dockerd": "/usr/sbin/dockerd",
    "running": True,
    "version": "26.1.5+dfsg1",
    "pid": 42,
    "enabled": True,
    "sdk": {"importable": True, "version": "5.0.3", "python": "/usr/bin/python3"},
}


def config(options=None, error=""):
    return {"config": {"path": "/etc/docker/daemon.json", "exists": True, "options": options or {}, "error": error}}


def plan(seen, record=None, minimum="20.10", defaults=DEFAULTS, wanted=None):
    return daemon_plan.make_plan(
        seen, record or Record(), minimum_version=minimum, defaults=defaults, wanted=wanted or {}
    )


@pytest.mark.parametrize(
    ("version", "minimum", "recent"),
    [
        ("20.10.24+dfsg1", "20.10", True),
        ("20.10", "20.10.0", True),
        ("20.10.5", "20.10.24", False),
        ("9.1", "20.10", False),
        ("26.1.5+dfsg1", "26.1.6", False),
        ("v28.0.0-rc.1", "27", True),
    ],
)
def test_versions_compare_as_numbers(version, minimum, recent):
    assert daemon_plan.is_recent(version, minimum) is recent


def test_a_version_without_numbers_is_refused():
    with pytest.raises(DeployError, match=r"'newest' is not a version of Docker; write it like 20.10"):
        daemon_plan.is_recent("20.10", "newest")


@pytest.mark.parametrize("current", [{}, {"no-proxy": "localhost"}], ids=["new", "written by an earlier version"])
@pytest.mark.parametrize("version", ["20.10.24", "28.0"])
def test_an_option_that_docker_ignores_in_its_file_is_refused(version, current):
    message = r"no-proxy in .* ignores in daemon.json. Write proxies: {no-proxy: …}; nothing was changed"
    with pytest.raises(DeployError, match=message):
        plan({**RUNNING, **config(current), "version": version}, wanted={"no-proxy": "localhost"})


@pytest.mark.parametrize(
    ("version", "options", "message"),
    [
        (
            "20.10.24+dfsg1",
            {"proxies": {}},
            "proxies in docker_daemon_options needs Docker 23.0 or newer, and this host",
        ),
        ("23.0.1", {"default-network-opts": {}}, "default-network-opts in docker_daemon_options needs Docker 24.0 or"),
        ("23.0", {"proxies": {}}, None),
        ("20.10.24", {"mtu": 1450}, None),
    ],
)
def test_an_option_that_docker_is_too_old_for_is_refused(version, options, message):
    seen = {**RUNNING, "version": version}
    if message is None:
        assert plan(seen, wanted=options).options.items() >= options.items()
    else:
        with pytest.raises(DeployError, match=message):
            plan(seen, wanted=options)
        # The upgrade comes first.
        assert plan(seen, wanted=options, minimum="24.0").install
        # It is in the file already: this run does not add it.
        assert plan({**seen, **config(options)}, wanted=options)


class TestBareHost:
    def test_everything_is_installed(self):
        made = plan(BARE)

        assert (made.install, made.install_sdk, made.write, made.action) == (True, True, True, "start")
        assert made.options == made.applied == DEFAULTS
        assert made.steps == [
            "install Docker 20.10 or newer",
            "install Python's docker SDK",
            "write live-restore to /etc/docker/daemon.json",
            "start Docker",
        ]

    def test_options_from_before_the_installation_are_kept(self):
        assert plan({**BARE, **config({"live-restore": False})}).options == {"live-restore": False}


class TestDockerOfSomebodyElse:
    def test_is_not_changed(self):
        made = plan(RUNNING)

        assert made.steps == []
        assert (made.install, made.install_sdk, made.configures) == (False, False, False)

    def test_is_not_changed_with_a_broken_file(self):
        made = plan({**RUNNING, **config(error="daemon.json is not valid JSON")})

        assert made.steps == []
        assert made.warnings == [
            "daemon.json is not valid JSON; Docker was installed by somebody else and is not changed"
        ]

    def test_is_not_changed_with_options_that_we_would_refuse(self):
        assert plan({**RUNNING, **config({"mtu": "1400"})}).steps == []

    def test_still_gets_the_sdk(self):
        assert plan({**RUNNING, "sdk": BARE["sdk"]}).steps == ["install Python's docker SDK"]

    def test_gets_the_operators_options_and_no_defaults(self):
        made = plan({**RUNNING, **config({"debug": True})}, wanted={"registry-mirrors": ["https://mirror.example.com"]})

        assert made.options == {"debug": True, "registry-mirrors": ["https://mirror.example.com"]}
        assert made.applied == {"registry-mirrors": ["https://mirror.example.com"]}
        assert made.action == "reload"

    def test_a_broken_file_stops_the_operators_options(self):
        with pytest.raises(DeployError, match="not valid JSON"):
            plan({**RUNNING, **config(error="daemon.json is not valid JSON")}, wanted={"debug": True})

    def test_a_restart_that_stops_containers_is_a_warning(self):
        seen = {**RUNNING, "containers_running": 3}

        made = plan(seen, wanted={"mtu": 1400})
        assert made.action == "restart"
        assert made.warnings == ["Docker is restarted without live-restore; 3 running container(s) stop with it"]
        assert plan(seen, wanted={"mtu": 1400, "live-restore": True}).warnings == []

    def test_is_started_when_it_does_not_run(self):
        made = plan({**RUNNING, "running": False, "pid": None})

        assert made.action == "start"
        assert made.options == {}

    def test_is_not_enabled_by_us(self):
        assert not plan({**RUNNING, "service_manager": "systemd", "enabled": False}).enable

    def test_is_upgraded_when_it_is_too_old(self):
        made = plan({**RUNNING, "version": "19.03.8", "installed_version": "19.03.8"})

        assert made.install
        assert made.steps == ["upgrade Docker 19.03.8 to 20.10 or newer", "restart Docker"]

    def test_is_only_restarted_when_newer_packages_are_installed(self):
        made = plan({**RUNNING, "version": "19.03.8", "installed_version": "20.10.24"})

        assert made.steps == ["restart Docker"]


class TestOurDocker:
    OURS = Record(managed=True, applied=DEFAULTS)

    def test_that_is_configured_needs_no_change(self):
        assert plan({**RUNNING, **config(DEFAULTS)}, self.OURS).steps == []

    def test_completes_an_interrupted_run(self):
        seen = {**RUNNING, **config(DEFAULTS)}

        assert plan(seen, self.OURS._replace(pending="restart")).steps == ["restart Docker"]
        assert plan(seen, self.OURS._replace(pending="reload")).steps == ["reload Docker"]

    def test_a_pending_restart_is_not_replaced_by_a_reload(self):
        made = plan({**RUNNING, **config(DEFAULTS)}, self.OURS._replace(pending="restart"), wanted={"debug": True})

        assert made.action == "restart"

    def test_is_started_at_boot(self):
        seen = {**RUNNING, **config(DEFAULTS), "service_manager": "systemd", "enabled": False}

        assert plan(seen, self.OURS).steps == ["enable Docker at boot"]

    def test_a_flag_overrides_a_default(self):
        seen = {**RUNNING, "arguments": ["-H", "fd://", "--live-restore"]}

        assert plan(seen, self.OURS._replace(applied={})).steps == []

    def test_refuses_another_data_root_while_there_are_data(self):
        running = {**RUNNING, **config(DEFAULTS), "root_dir": "/var/lib/docker"}
        wanted = {"data-root": "/srv/docker"}

        with pytest.raises(
            DeployError,
            match=r"behind in /var/lib/docker; stop all containers .*, then Docker .*, move .* to /srv/docker,",
        ):
            plan(running, self.OURS, wanted=wanted)
        with pytest.raises(DeployError, match="stay behind in /var/lib/docker; move the directory to /srv/docker, and"):
            plan({**running, "running": False, "objects": {"volumes": 1}}, self.OURS, wanted=wanted)
        assert plan({**running, "running": False}, self.OURS, wanted=wanted).options["data-root"] == "/srv/docker"
        assert plan(BARE, wanted=wanted).options["data-root"] == "/srv/docker"

    def test_refuses_options_that_hide_what_docker_has(self):
        seen = {**RUNNING, **config(DEFAULTS), "storage_driver": "overlay2", "objects": {"containers": 2, "images": 1}}

        with pytest.raises(DeployError, match=r"storage-driver \(overlay2 → vfs\) in docker_daemon_options would"):
            plan(seen, self.OURS, wanted={"storage-driver": "vfs"})
        assert plan({**seen, "objects": {"containers": 0}}, self.OURS, wanted={"storage-driver": "vfs"}).write
        with pytest.raises(DeployError, match=r"storage-driver \(overlay2 → vfs\)"):
            plan({**seen, "running": False}, self.OURS, wanted={"storage-driver": "vfs"})

    def test_options_that_would_prevent_its_start_are_refused(self):
        seen = {**RUNNING, **config(DEFAULTS), "arguments": ["-H", "fd://"]}

        with pytest.raises(DeployError) as caught:
            plan(seen, self.OURS, wanted={"hosts": ["tcp://127.0.0.1:2375"]})
        assert "hosts cannot be set in daemon.json while dockerd is started with -H" in str(caught.value)
        assert "Correct docker_daemon_options" in str(caught.value)


def test_a_report_shows_names_of_options_and_no_passwords():
    seen = {
        **RUNNING,
        **config({"http-proxy": "http://alice:secret@proxy.example.com"}),
        "arguments": ["--https-proxy=http://alice:secret@proxy.example.com"],
    }

    report = daemon_plan.report(
        seen, Record(applied={"http-proxy": "http://alice:secret@proxy.example.com"}), plan(seen)
    )

    assert "secret" not in repr(report)
    assert report["config"]["options"] == report["record"]["applied"] == ["http-proxy"]
    assert report["plan"] == {"install": False, "install_sdk": False, "configure": False, "steps": [], "warnings": []}
