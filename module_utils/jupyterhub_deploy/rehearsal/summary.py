"""The report of a rehearsal, as lines for an operator. Pure: no I/O."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ansible.module_utils.jupyterhub_deploy.rehearsal.plan import Memory, Places, Wanted
from ansible.module_utils.jupyterhub_deploy.rehearsal.starts import Start
from ansible.module_utils.jupyterhub_deploy.text import counted, human_size

# Kinds of failures that are shown. The report fits on one screen.
MOST_REASONS = 5
LONGEST_REASON = 300  # characters


class Latency(NamedTuple):
    """How long a page took: the seconds of good answers, and how many requests had none."""

    seconds: Sequence[float] = ()
    failed: int = 0


class Measured(NamedTuple):
    """What was measured while the servers of a rehearsal ran.

    :ivar servers: bytes that each of them used.
    :ivar before: the memory before the first was requested.
    :ivar after: the memory with all of them.
    :ivar lowest: the least memory that was available meanwhile, in bytes.
    :ivar places: the servers of the hub with all of them.
    :ivar idle: the hub's page before the first was requested.
    :ivar busy: the same during the starts.
    """

    servers: Sequence[int]
    before: Memory
    after: Memory
    lowest: int
    places: Places
    idle: Latency
    busy: Latency


def quantile(values: Iterable[float], share: float) -> float:
    """Return the least of the values that so large a share of them does not exceed. There is at least one value."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def seconds(value: float) -> str:
    """Return a time as text: ``180 ms``, ``2.5 s``, ``48 s``."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"


def report(wanted: Wanted, starts: Sequence[Start], measured: Measured, stopped: str) -> list[str]:
    """Return the report; its last line is the conclusion.

    :param stopped: why the rehearsal was stopped before all servers had been started, empty if it was not.
    """
    return [
        f"temporary users: {wanted.shown()}",
        *_starts(starts),
        *_queue(starts),
        *(_kernels(starts) if wanted.kernels else []),
        *_memory(measured),
        f"sign-in page of the hub before: {latency(measured.idle)}",
        f"sign-in page during the starts: {latency(measured.busy)}",
        conclusion(starts, measured, stopped),
    ]


def conclusion(starts: Sequence[Start], measured: Measured, stopped: str) -> str:
    """Return the result in one sentence."""
    ready = [one.seconds for one in starts if one.seconds is not None]
    parts = [f"{len(ready)} of {counted(len(starts), 'server', 'servers')} started"]
    if ready:
        parts.append(f"the slowest user waited {seconds(max(ready))}")
    more = servers_left(measured)
    if more is not None:
        parts.append(f"the host has memory for about {counted(more, 'more server', 'more servers')} of this size")
        free = measured.places.limit - measured.places.active
        if measured.places.limit and free < more:
            parts.append(f"jupyterhub_server_limit allows {max(free, 0)} more")
    if stopped:
        parts.insert(0, f"the rehearsal was stopped early: {stopped}")
    return "; ".join(parts)


def servers_left(measured: Measured) -> int | None:
    """Return how many more servers of the measured size the memory is enough for; ``None`` if none was measured."""
    used = [size for size in measured.servers if size]
    return max(measured.after.left(), 0) // max(int(statistics.mean(used)), 1) if used else None


def latency(found: Latency) -> str:
    """Return how long a page took."""
    failed = f"; {counted(found.failed, 'request', 'requests')} failed" if found.failed else ""
    if not found.seconds:
        return f"no answer{failed}"
    median, most = quantile(found.seconds, 0.5), max(found.seconds)
    return f"median {seconds(median)}, p95 {seconds(quantile(found.seconds, 0.95))}, slowest {seconds(most)}{failed}"


def _starts(starts: Sequence[Start]) -> list[str]:
    ready = [one.seconds for one in starts if one.seconds is not None]
    reasons = Counter(one.failure for one in starts if one.failure)
    lines = [f"started: {len(ready)} of {len(starts)}"]
    if ready:
        lines.append(f"time until ready: median {seconds(quantile(ready, 0.5))}, slowest {seconds(max(ready))}")
    if reasons:
        lines += [f"failed: {sum(reasons.values())}", *_reasons(reasons)]
    unfinished = len(starts) - len(ready) - sum(reasons.values())
    if unfinished:
        lines.append(f"not ready when the rehearsal was stopped: {unfinished}")
    return lines


def _reasons(reasons: Counter[str]) -> list[str]:
    lines = [
        f"  {number}: {' '.join(reason.split())[:LONGEST_REASON]}"
        for reason, number in reasons.most_common(MOST_REASONS)
    ]
    rest = len(reasons) - MOST_REASONS
    return lines + ([f"  and {counted(rest, 'other reason', 'other reasons')}"] if rest > 0 else [])


def _queue(starts: Sequence[Start]) -> list[str]:
    waited = [one for one in starts if one.place]
    if not waited:
        return ["queue: nobody saw a position in it"]
    last = max(one.place for one in waited)
    longest = seconds(max(one.queued for one in waited))
    return [
        f"queue: {counted(len(waited), 'user', 'users')} waited in it, the last as number {last}, for {longest} at most"
    ]


def _kernels(starts: Sequence[Start]) -> list[str]:
    ready = [one for one in starts if one.seconds is not None]
    reasons = Counter(one.kernel for one in ready if one.kernel)
    return [f"kernels: {len(ready) - sum(reasons.values())} of {len(ready)} started", *_reasons(reasons)]


def _memory(measured: Measured) -> list[str]:
    used, lines = [size for size in measured.servers if size], []
    if used:
        lines.append(
            f"memory of their servers: {human_size(sum(used))} together, {human_size(statistics.mean(used))} each on "
            f"average, {human_size(max(used))} at most"
        )
    return [
        *lines,
        f"available memory of the host: {human_size(measured.before.available)} before, "
        f"{human_size(measured.after.available)} with these servers, {human_size(measured.lowest)} at the least",
    ]
