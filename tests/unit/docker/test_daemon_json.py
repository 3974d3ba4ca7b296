"""How options of ``daemon.json`` are merged and compared."""

from __future__ import annotations

import copy

import pytest
from ansible.module_utils.jupyterhub_deploy.docker import daemon_json as options
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from hypothesis import given, settings
from hypothesis import strategies as st

LOGS = {"log-driver": "json-file", "log-opts": {"max-size": "10m", "max-file": "3"}}


def merge(current=None, applied=None, defaults=None, wanted=None):
    return options.merge(current or {}, applied or {}, defaults or {}, wanted or {})


class TestMerge:
    def test_defaults_are_used_for_options_that_are_not_set(self):
        made = merge(current={"debug": True}, defaults={"live-restore": True, "debug": False})

        assert made.options == {"debug": True, "live-restore": True}
        assert made.ours == {"live-restore": True}
        assert made.replaced == []

    def test_the_operators_options_win_and_replaced_ones_are_reported(self):
        made = merge(current={"debug": True, "mtu": 1400}, defaults={"debug": False}, wanted={"debug": False})

        assert made.options == {"debug": False, "mtu": 1400}
        assert made.replaced == ["debug"]

    def test_our_options_change_with_the_settings(self):
        before = merge(defaults={"live-restore": True}, wanted={"mtu": 1400})
        after = merge(before.options, before.ours, {"live-restore": True}, {"mtu": 9000})

        assert after.options == {"live-restore": True, "mtu": 9000}
        assert after.replaced == []

    def test_our_options_are_removed_when_they_are_no_longer_set(self):
        before = merge(wanted={"mtu": 1400, "log-opts": {"max-size": "1m"}})

        assert merge(before.options, before.ours).options == {}

    def test_foreign_options_are_kept_when_the_operator_no_longer_sets_them(self):
        before = merge(current={"mtu": 1400}, wanted={"mtu": 1400})

        assert merge(before.options, before.ours).options == {"mtu": 1400}

    def test_options_that_were_edited_by_hand_are_foreign(self):
        made = merge(current={"live-restore": False}, applied={"live-restore": True}, defaults={"live-restore": True})

        assert made.options == {"live-restore": False}
        assert made.ours == {}

    def test_null_removes_an_option(self):
        assert merge(defaults={"live-restore": True}, wanted={"live-restore": None}).options == {}
        assert merge(current={"live-restore": True}, wanted={"live-restore": None}).replaced == ["live-restore"]

    def test_mappings_merge_by_key(self):
        made = merge(current={"log-opts": {"labels": "a"}}, defaults=LOGS, wanted={"log-opts": {"max-size": "50m"}})

        assert made.options["log-opts"] == {"labels": "a", "max-file": "3", "max-size": "50m"}
        assert made.ours["log-opts"] == {"max-file": "3", "max-size": "50m"}

    @pytest.mark.parametrize(
        ("current", "wanted"), [({}, {"log-driver": "journald"}), ({"log-driver": "journald"}, {})]
    )
    def test_other_log_drivers_do_not_get_our_log_options(self, current, wanted):
        # journald knows neither max-size nor max-file, and no container could be created.
        assert merge(current=current, defaults=LOGS, wanted=wanted).options == {"log-driver": "journald"}

    def test_our_log_options_are_removed_when_the_driver_changes(self):
        assert merge(LOGS, LOGS, LOGS, {"log-driver": "journald"}).options == {"log-driver": "journald"}

    def test_mirrors_are_added(self):
        before = merge(current={"registry-mirrors": ["https://a"]}, wanted={"registry-mirrors": ["https://b"]})
        assert before.options == {"registry-mirrors": ["https://b", "https://a"]}
        assert before.replaced == []

        changed = merge(before.options, before.ours, {}, {"registry-mirrors": ["https://c"]})
        assert changed.options == {"registry-mirrors": ["https://c", "https://a"]}
        assert merge(changed.options, changed.ours).options == {"registry-mirrors": ["https://a"]}

    def test_null_removes_all_mirrors(self):
        current = {"registry-mirrors": ["https://a"]}

        made = merge(current=current, wanted={"registry-mirrors": None})
        assert made.options == {}
        assert made.replaced == ["registry-mirrors"]


NAMES = st.sampled_from(["a", "b", "log-opts", "registry-mirrors", "insecure-registries"])
# Booleans and numbers apart: to Python, True and 1 are equal.
LEAVES = st.one_of(st.booleans(), st.integers(2, 3), st.lists(st.sampled_from("xyz"), min_size=1, unique=True))
OPTIONS = st.dictionaries(NAMES, st.one_of(LEAVES, st.dictionaries(NAMES, LEAVES, min_size=1, max_size=2)), max_size=4)


# A busy machine may be slow, which is not a fault of the code.
NO_DEADLINE = settings(deadline=None)


class TestMergeAlways:
    @NO_DEADLINE
    @given(OPTIONS, OPTIONS, OPTIONS)
    def test_a_second_run_changes_nothing(self, current, defaults, wanted):
        once = options.merge(current, {}, defaults, wanted)
        twice = options.merge(once.options, once.ours, defaults, wanted)

        assert twice.options == once.options
        assert twice.replaced == []

    @NO_DEADLINE
    @given(OPTIONS, OPTIONS, OPTIONS)
    def test_arguments_are_not_changed(self, current, defaults, wanted):
        before = copy.deepcopy((current, defaults, wanted))

        options.merge(current, {}, defaults, wanted)

        assert (current, defaults, wanted) == before

    @NO_DEADLINE
    @given(OPTIONS, OPTIONS)
    def test_others_options_are_kept_when_ours_are_added_and_removed(self, current, defaults):
        once = options.merge(current, {}, defaults, {})
        gone = options.merge(once.options, once.ours, {}, {})

        assert gone.options == current


class TestAction:
    @pytest.mark.parametrize(
        ("before", "after", "action"),
        [
            ({"debug": True}, {"debug": True}, "none"),
            ({}, {"live-restore": True}, "reload"),
            ({"registry-mirrors": ["https://a"]}, {"registry-mirrors": ["https://b"]}, "reload"),
            ({"live-restore": True}, {}, "restart"),  # SIGHUP does not change options that are not in the file
            ({}, {"live-restore": True, "mtu": 1400}, "restart"),
            ({}, {"log-opts": {"max-size": "1m"}}, "restart"),
        ],
    )
    def test_is_the_smallest_that_applies_the_change(self, before, after, action):
        assert options.needed_action(before, after) == action


class TestAdvice:
    @pytest.mark.parametrize(
        ("output", "correct"),
        [
            ("don't match any configuration option: live-restor", "live-restor in docker_daemon_options"),
            (
                "cannot unmarshal string into Go struct field Config.mtu",
                "mtu in daemon.json, where somebody else set it",
            ),
            (
                "live-restor and mtu",
                "live-restor in docker_daemon_options and mtu in daemon.json, where somebody else set it",
            ),
            ("live-restore, network-mtu: no", "docker_daemon_options, or daemon.json on the host"),
        ],
    )
    def test_is_where_the_refused_option_was_set(self, output, correct):
        refused = {**LOGS, "live-restor": True, "mtu": "1400", "debug": True}

        assert (
            options.advice(output, refused, {"live-restor": True}, "daemon.json") == f"Correct {correct}, and run again"
        )


class TestFile:
    def test_an_empty_file_holds_nothing(self):
        assert options.parse(" \n", "daemon.json") == {}

    @pytest.mark.parametrize(("text", "message"), [("{,}", "is not valid JSON"), ("[]", "holds list instead of")])
    def test_invalid_content_is_refused_with_the_path(self, text, message):
        with pytest.raises(DeployError, match=f"^/etc/docker/daemon.json {message}"):
            options.parse(text, "/etc/docker/daemon.json")

    def test_what_is_written_can_be_read(self):
        assert options.parse(options.render(LOGS), "x") == LOGS

    def test_passwords_are_not_shown(self):
        shown = options.show({"proxies": {"http-proxy": "http://alice:s3cr:t@proxy.example.com:3128"}, "mtu": 1})

        assert "s3cr" not in shown
        assert "http://alice:********@proxy.example.com:3128" in shown
