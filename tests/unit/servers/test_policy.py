"""Which servers are on an old image, and what each policy does about them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.servers import policy as servers_plan

NOW = datetime(2026, 3, 2, 12, 0, 0, tzinfo=timezone.utc)
OLD, NEW = "sha256:" + "1" * 64, "sha256:" + "2" * 64
LIMIT = 3600


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def container(user: str = "alice", name: str = "", image: str = OLD, started: float = 7200) -> dict[str, Any]:
    """What Docker says of a server's container."""
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
    """What the hub says of a server."""
    last = None if idle is None else ago(idle)
    return {"ready": True, "pending": None, "last_activity": last, **changes}


def server(idle: float | None = 0, image: str = OLD, **changes: Any) -> servers_plan.Server:
    known = {"alice": {"servers": {"": at_hub(idle, **changes)}}}
    return servers_plan.describe(container(image=image), known, {NEW}, NOW)


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
        found = servers_plan.describe(container("a@b", "gpu"), known, {NEW}, NOW)
        assert (found["server"], found["idle_seconds"]) == ("gpu", 5000)
        assert servers_plan.title(found) == "a@b/gpu"
        assert servers_plan.describe(container("a@b", "other"), known, {NEW}, NOW)["state"] == servers_plan.NOT_KNOWN

    @pytest.mark.parametrize(
        ("known", "state"),
        [
            ({}, "not known to the hub"),
            ({"alice": {}}, "not known to the hub"),
            ({"alice": {"servers": {}}}, "not known to the hub"),
            (None, "unknown"),
        ],
    )
    def test_what_the_hub_does_not_say_is_not_guessed(self, known: Any, state: str) -> None:
        found = servers_plan.describe(container(), known, {NEW}, NOW)
        assert (found["state"], found["last_activity"], found["idle_seconds"]) == (state, None, None)

    @pytest.mark.parametrize(
        ("changes", "state"),
        [
            ({"pending": "spawn", "ready": False}, "starting"),
            ({"pending": "stop"}, "stopping"),
            ({"pending": "check"}, "pending check"),
            ({"ready": False}, "not ready"),
            ({}, "ready"),
        ],
    )
    def test_state(self, changes: dict[str, Any], state: str) -> None:
        assert server(**changes)["state"] == state

    def test_a_server_nobody_has_heard_of_yet_is_idle_since_its_start(self) -> None:
        assert server(None)["idle_seconds"] == 7200
        # What was heard of the one before it does not count.
        assert server(9000)["idle_seconds"] == 7200

    def test_a_clock_that_was_set_back_makes_nobody_idle(self) -> None:
        assert server(-30)["idle_seconds"] == 0

    def test_what_the_proxy_saw_counts(self) -> None:
        known = at_hub(5000)
        assert servers_plan.with_activity(server(5000), known, NOW, ago(3))["idle_seconds"] == 3
        assert servers_plan.with_activity(server(5000), known, NOW, ago(6000))["idle_seconds"] == 5000
        assert servers_plan.with_activity(server(5000), known, NOW, None)["idle_seconds"] == 5000


class TestDecide:
    @pytest.mark.parametrize("policy", servers_plan.POLICIES)
    def test_a_current_server_is_left_alone(self, policy: str) -> None:
        assert servers_plan.decide(server(10**6, image=NEW), policy, 0) == (False, "it has a current image")

    def test_keep(self) -> None:
        assert servers_plan.decide(server(10**6), "keep", 0) == (False, "the next start uses the new image")

    def test_stop(self) -> None:
        assert servers_plan.decide(server(0), "stop", LIMIT) == (True, "it has an old image")

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
        assert servers_plan.decide(server(idle), "stop-idle", LIMIT) == (stops, reason)

    def test_without_any_time_nothing_is_idle(self) -> None:
        unknown = {**server(), "idle_seconds": None}
        assert servers_plan.decide(unknown, "stop-idle", 0) == (False, "nothing is known of its activity")

    @pytest.mark.parametrize("policy", ["stop", "stop-idle"])
    @pytest.mark.parametrize("changes", [{"pending": "spawn"}, {"pending": "stop"}, {"ready": False}])
    def test_what_is_on_its_way_is_left_alone(self, policy: str, changes: dict[str, Any]) -> None:
        stops, reason = servers_plan.decide(server(5000, **changes), policy, LIMIT)
        assert (stops, reason) == (False, f"it is {server(**changes)['state']}")

    @pytest.mark.parametrize("policy", ["stop", "stop-idle"])
    @pytest.mark.parametrize(
        ("known", "said"), [({}, "the hub does not know this server"), (None, "could not be asked")]
    )
    def test_what_the_hub_does_not_know_is_left_alone(self, policy: str, known: Any, said: str) -> None:
        stops, reason = servers_plan.decide(servers_plan.describe(container(), known, {NEW}, NOW), policy, 0)
        assert stops is False
        assert said in reason


class TestTime:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("2026-03-02T12:00:00Z", NOW),
            ("2026-03-02T12:00:00", NOW),
            ("2026-03-02T14:00:00+02:00", NOW),
            ("2026-03-02T07:00:00-0500", NOW),
            ("2026-03-02T12:00:00.5Z", NOW + timedelta(microseconds=500000)),
            ("2026-03-02T12:00:00.123456789Z", NOW + timedelta(microseconds=123456)),
            ("0001-01-01T00:00:00Z", None),
            ("yesterday", None),
            ("", None),
            (None, None),
        ],
    )
    def test_parse(self, text: str | None, expected: datetime | None) -> None:
        assert servers_plan.parse_time(text) == expected

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
        assert servers_plan.span(seconds) == text


def stats(cores: float, seconds: float = 1.0) -> dict[str, Any]:
    return {
        "preread": ago(10),
        "read": ago(10 - seconds),
        "precpu_stats": {"cpu_usage": {"total_usage": 5 * 10**9}},
        "cpu_stats": {"cpu_usage": {"total_usage": int(5 * 10**9 + cores * seconds * 10**9)}},
    }


def test_what_a_container_computes() -> None:
    assert servers_plan.computing(stats(0.97, 1.01)) == pytest.approx(0.97)
    assert servers_plan.computing(stats(0)) == 0
    never = {**stats(1), "preread": "0001-01-01T00:00:00Z"}
    assert servers_plan.computing(never) == 0


def test_the_sentence_for_an_old_server() -> None:
    done = {**server(4000), "action": "stopped", "reason": "it has an old image"}
    assert servers_plan.sentence(done) == (
        "alice: notebook:1 (111111111111), started 2 h ago, last active 1 h 6 min ago: stopped (it has an old image)"
    )


def test_an_image_that_is_gone_is_told() -> None:
    assert servers_plan.image({"image": "notebook:1", "image_id": None}) == "notebook:1 (not on this host)"


def test_columns_stand_one_below_the_other() -> None:
    assert servers_plan.table(["USER", "", "AGE"], [["alice", "-", "1 h"], ["zoë", "gpu", ""]]) == [
        "USER        AGE",
        "alice  -    1 h",
        "zoë    gpu",
    ]
