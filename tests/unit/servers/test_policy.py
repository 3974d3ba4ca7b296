"""Which servers have an old image, and what each policy does about them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.servers import policy

NOW = datetime(2026, 3, 2, 12, 0, 0, tzinfo=timezone.utc)
OLD, NEW = "sha256:" + "1" * 64, "sha256:" + "2" * 64
LIMIT = 3600


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def container(user: str = "alice", name: str = "", image: str = OLD, started: float = 7200) -> dict[str, Any]:
    """Docker's description of a server's container."""
    return {
        "Id": f"id-of-{user}-{name}",
        "Name": f"/jupyter-{user}",
        "Image": image,
        "Config": {
            "Image": "notebook:1",
            "Labels": {"org.jupyterhub.deploy.hub": "jupyterhub", "org.jupyterhub.deploy.user": user},
            "Env": ["JUPYTERHUB_API_TOKEN=secret", f"JUPYTERHUB_SERVER_NAME={name}"],
        },
        "State": {"Running": True, "StartedAt": ago(started)},
    }


def at_hub(idle: float | None = 0, **changes: Any) -> dict[str, Any]:
    """The hub's description of a server."""
    last = None if idle is None else ago(idle)
    return {"ready": True, "pending": None, "last_activity": last, **changes}


def server(idle: float | None = 0, image: str = OLD, **changes: Any) -> policy.Server:
    known = {"alice": {"servers": {"": at_hub(idle, **changes)}}}
    return policy.describe(container(image=image), known, {NEW}, NOW)


class TestDescribe:
    def test_an_old_server(self) -> None:
        assert server(90) == {
            "user": "alice",
            "server": "",
            "container": "jupyter-alice",
            "container_id": "id-of-alice-",
            "image": "notebook:1",
            "image_id": OLD,
            "current": False,
            "old_url": False,
            "started": "2026-03-02T10:00:00Z",
            "age_seconds": 7200,
            "state": "ready",
            "last_activity": "2026-03-02T11:58:30Z",
            "idle_seconds": 90,
        }

    def test_the_name_of_the_image_does_not_matter_its_content_does(self) -> None:
        assert server(image=NEW)["current"] is True

    def test_a_named_server_is_found_by_its_name(self) -> None:
        known = {"a@b": {"servers": {"": at_hub(1), "gpu": at_hub(5000)}}}
        found = policy.describe(container("a@b", "gpu"), known, {NEW}, NOW)
        assert (found["server"], found["idle_seconds"]) == ("gpu", 5000)
        assert policy.title(found) == "a@b/gpu"
        assert policy.describe(container("a@b", "other"), known, {NEW}, NOW)["state"] == policy.NOT_KNOWN

    @pytest.mark.parametrize(
        ("known", "state"),
        [
            ({}, "not_known_to_hub"),
            ({"alice": {}}, "not_known_to_hub"),
            ({"alice": {"servers": {}}}, "not_known_to_hub"),
            (None, "unknown"),
        ],
    )
    def test_what_the_hub_does_not_report_is_unknown(self, known: Any, state: str) -> None:
        found = policy.describe(container(), known, {NEW}, NOW)
        assert (found["state"], found["last_activity"], found["idle_seconds"]) == (state, None, None)

    @pytest.mark.parametrize(
        ("changes", "state"),
        [
            ({"pending": "spawn", "ready": False}, "starting"),
            ({"pending": "stop"}, "stopping"),
            ({"pending": "check"}, "pending check"),
            ({"ready": False}, "not_ready"),
            ({}, "ready"),
        ],
    )
    def test_state(self, changes: dict[str, Any], state: str) -> None:
        assert server(**changes)["state"] == state

    def test_a_server_without_activity_is_idle_since_its_start(self) -> None:
        assert server(None)["idle_seconds"] == 7200
        # The activity of an earlier server does not count.
        assert server(9000)["idle_seconds"] == 7200

    def test_a_clock_that_was_set_back_makes_no_server_idle(self) -> None:
        assert server(-30)["idle_seconds"] == 0

    def test_what_the_proxy_saw_counts(self) -> None:
        known = at_hub(5000)
        assert policy.with_activity(server(5000), known, NOW, ago(3))["idle_seconds"] == 3
        assert policy.with_activity(server(5000), known, NOW, ago(6000))["idle_seconds"] == 5000
        assert policy.with_activity(server(5000), known, NOW, None)["idle_seconds"] == 5000


class TestDecide:
    @pytest.mark.parametrize("name", policy.POLICIES)
    def test_a_current_server_is_kept(self, name: str) -> None:
        assert policy.decide(server(10**6, image=NEW), name, 0) == (False, "it has a current image")

    def test_keep(self) -> None:
        assert policy.decide(server(10**6), "keep", 0) == (False, "the next start uses the new image")

    def test_stop(self) -> None:
        assert policy.decide(server(0), "stop", LIMIT) == (True, "it has an old image")

    @pytest.mark.parametrize(
        ("idle", "stops", "reason"),
        [
            (0, False, "it was active 0 s ago"),
            (3599, False, "it was active 59 min 59 s ago"),
            (3600, False, "it was active 1 h ago"),
            (3600.9, False, "it was active 1 h ago"),
            (3601, True, "it has an old image and has been idle for 1 h 1 s"),
            (None, True, "it has an old image and has been idle for 2 h"),
        ],
    )
    def test_stop_idle_stops_what_has_been_idle_for_longer_than_the_limit(
        self, idle: float | None, stops: bool, reason: str
    ) -> None:
        assert policy.decide(server(idle), "stop-idle", LIMIT) == (stops, reason)

    def test_a_server_without_a_known_activity_is_not_idle(self) -> None:
        unknown = {**server(), "idle_seconds": None}
        assert policy.decide(unknown, "stop-idle", 0) == (False, "its last activity is unknown")

    @pytest.mark.parametrize("name", ["stop", "stop-idle"])
    @pytest.mark.parametrize("changes", [{"pending": "spawn"}, {"pending": "stop"}, {"ready": False}])
    def test_a_server_that_is_starting_or_stopping_is_kept(self, name: str, changes: dict[str, Any]) -> None:
        stops, reason = policy.decide(server(5000, **changes), name, LIMIT)
        assert (stops, reason) == (False, f"it is {policy.shown_state(server(**changes))}")

    @pytest.mark.parametrize("name", ["stop", "stop-idle"])
    @pytest.mark.parametrize(
        ("known", "expected"), [({}, "the hub does not know this server"), (None, "the hub does not answer")]
    )
    def test_a_server_that_the_hub_does_not_know_is_kept(self, name: str, known: Any, expected: str) -> None:
        stops, reason = policy.decide(policy.describe(container(), known, {NEW}, NOW), name, 0)
        assert stops is False
        assert expected in reason


class TestSpan:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (None, "?"),
            (-5, "0 s"),
            (0, "0 s"),
            (59.9, "59 s"),
            (60, "1 min"),
            (3661, "1 h 1 min"),
            (86400, "1 d"),
            (90061, "1 d 1 h"),
        ],
    )
    def test_span(self, seconds: float | None, text: str) -> None:
        assert policy.span(seconds) == text


def stats(cores: float, seconds: float = 1.0) -> dict[str, Any]:
    return {
        "preread": ago(10),
        "read": ago(10 - seconds),
        "precpu_stats": {"cpu_usage": {"total_usage": 5 * 10**9}},
        "cpu_stats": {"cpu_usage": {"total_usage": int(5 * 10**9 + cores * seconds * 10**9)}},
    }


def test_processor_use_of_a_container() -> None:
    assert policy.computing(stats(0.97, 1.01)) == pytest.approx(0.97)
    assert policy.computing(stats(0)) == 0
    never = {**stats(1), "preread": "0001-01-01T00:00:00Z"}
    assert policy.computing(never) == 0


def test_the_message_for_an_old_server() -> None:
    done = {**server(4000), "action": "stopped", "reason": "it has an old image"}
    assert policy.message(done) == (
        "alice: notebook:1 (111111111111), started 2 h ago, last active 1 h 6 min ago: stopped (it has an old image)"
    )


def test_an_image_that_is_not_on_the_host() -> None:
    assert policy.image({"image": "notebook:1", "image_id": None}) == "notebook:1 (not on this host)"


def test_columns_are_aligned() -> None:
    assert policy.table(["USER", "", "AGE"], [["alice", "-", "1 h"], ["zoë", "gpu", ""]]) == [
        "USER        AGE",
        "alice  -    1 h",
        "zoë    gpu",
    ]


class TestUrls:
    """What JupyterHub sets in a server: the origin of the hub, and the URL of the server."""

    PLAIN = ("https://hub.example.com", "https://hub.example.com/user/alice/")
    OWN = ("https://hub.example.com", "https://alice.hub.example.com/user/alice/")

    def started(self, hub: str, server: str) -> dict[str, Any]:
        found = container(image=NEW)
        found["Config"]["Env"] += [f"JUPYTERHUB_HOST={hub}", f"JUPYTERHUB_PUBLIC_URL={server}"]
        return found

    @pytest.mark.parametrize(
        ("environment", "url", "subdomains", "old"),
        [
            (("", ""), "", False, False),
            (PLAIN, "https://hub.example.com/", False, False),
            (OWN, "https://hub.example.com/", True, False),
            (("", ""), "https://hub.example.com/", False, False),  # it follows the browser's
            (("", ""), "https://hub.example.com/", True, True),
            (PLAIN, "", False, True),
            (PLAIN, "https://hub.example.com/", True, True),
            (OWN, "https://hub.example.com/", False, True),
            (OWN, "http://hub.example.com/", True, True),
            (OWN, "https://hub.example.com:8443/", True, True),
            (OWN, "https://lab.example.com/", True, True),
        ],
    )
    def test_a_server_of_another_url_is_old(
        self, environment: tuple[str, str], url: str, subdomains: bool, old: bool
    ) -> None:
        found = policy.describe(self.started(*environment), {}, {NEW}, NOW, policy.Urls(url, subdomains))
        assert (found["current"], found["old_url"], policy.is_old(found)) == (True, old, old)

    def test_without_the_urls_of_the_hub_there_is_nothing_to_compare(self) -> None:
        assert not policy.is_old(policy.describe(self.started(*self.OWN), {}, {NEW}, NOW))

    @pytest.mark.parametrize(
        ("name", "stops", "reason"),
        [
            ("keep", False, "it was started for another public URL; stop it if its pages do not open, and the next "
             "start uses the new URL"),
            ("stop", True, "it was started for another public URL"),
            ("stop-idle", True, "it was started for another public URL and has been idle for 2 h"),
        ],
    )  # fmt: skip
    def test_policies(self, name: str, stops: bool, reason: str) -> None:
        found = {**server(7200, image=NEW), "old_url": True}
        assert policy.decide(found, name, LIMIT) == (stops, reason)
