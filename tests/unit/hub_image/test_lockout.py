"""Lock-out: what counts for which source, and how long it lasts."""

from __future__ import annotations

import pytest

from jupyterhub_deploy_hub.lockout import (
    Failures,
    client_address,
    network_of,
    one_more,
    one_more_in,
    record_key,
    seconds_to_wait,
    source_of,
    waiting_time,
)

NOW = 1_000_000.0


def test_there_is_no_wait_below_the_limit() -> None:
    assert seconds_to_wait(None, NOW, 5, 600) == 0
    assert seconds_to_wait(Failures(4, NOW), NOW, 5, 600) == 0


def test_at_the_limit_there_is_a_wait() -> None:
    failures = Failures(5, NOW)
    assert seconds_to_wait(failures, NOW, 5, 600) == 600
    assert seconds_to_wait(failures, NOW + 599.5, 5, 600) == 1
    assert seconds_to_wait(failures, NOW + 600, 5, 600) == 0


def test_limit_zero_switches_lock_out_off() -> None:
    assert seconds_to_wait(Failures(99, NOW), NOW, 0, 600) == 0


def test_failures_add_up_and_are_forgotten_after_a_quiet_time() -> None:
    two = one_more(one_more(None, NOW, 600), NOW + 10, 600)
    assert two == Failures(2, NOW + 10)
    assert one_more(two, NOW + 611, 600) == Failures(1, NOW + 611)


def test_after_a_lock_the_full_number_of_tries_is_back() -> None:
    assert one_more(Failures(5, NOW), NOW + 600, 600).times == 1


def test_a_window_begins_with_the_first_one_and_is_not_prolonged() -> None:
    two = one_more_in(one_more_in(None, NOW, 600), NOW + 599, 600)
    assert two == Failures(2, NOW)
    assert seconds_to_wait(two, NOW + 599.5, 2, 600) == 1
    assert one_more_in(two, NOW + 600, 600) == Failures(1, NOW + 600)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("nonsense", "unknown"),
    ],
)
def test_networks(address: str, network: str) -> None:
    assert network_of(address) == network


def test_failures_of_the_future_do_not_count() -> None:
    """As after a clock that was a day ahead was set back."""
    ahead = Failures(50, 100_000.0)
    assert seconds_to_wait(ahead, 1000.0, 5, 600) == 0
    assert one_more(ahead, 1000.0, 600) == one_more_in(ahead, 1000.0, 600) == Failures(1, 1000.0)


def test_a_known_browser_does_not_count_for_its_address() -> None:
    assert source_of("mark", "192.0.2.7") != source_of(None, "192.0.2.7") != source_of(None, "192.0.2.8")
    assert source_of("mark", "192.0.2.7") == source_of("mark", "192.0.2.8")


@pytest.mark.parametrize(
    ("forwarded", "trusted", "expected"),
    [
        ("", [], "172.18.0.3"),
        ("192.0.2.7", [], "192.0.2.7"),
        ("203.0.113.9, 192.0.2.7", [], "192.0.2.7"),  # the client sent the first
        ("203.0.113.9, 192.0.2.7", ["192.0.2.7"], "203.0.113.9"),  # the site has its own proxy before ours
        ("192.0.2.7", ["192.0.2.7"], "172.18.0.3"),
    ],
)
def test_client_address(forwarded: str, trusted: list[str], expected: str) -> None:
    assert client_address("172.18.0.3", forwarded, trusted) == expected


def test_a_key_reveals_neither_name_nor_source_and_is_unique() -> None:
    assert "alice" not in record_key("alice", "address 192.0.2.7")
    assert record_key("a", "bc") != record_key("ab", "c")


@pytest.mark.parametrize(("seconds", "text"), [(1, "1 second"), (45, "45 seconds"), (600, "10 minutes")])
def test_waiting_times(seconds: int, text: str) -> None:
    assert waiting_time(seconds) == text
