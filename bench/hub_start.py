"""From `docker restart` of the hub to its first answer through the proxy.

python -m bench.hub_start
"""

from __future__ import annotations

import requests

from bench.common import deployed, summary, table, timed, wait_until

RUNS = 7


def is_healthy(url: str) -> bool:
    """Return whether the hub responds at its public address."""
    try:
        return requests.get(f"{url}/hub/health", timeout=2).ok
    except requests.RequestException:
        return False


def main() -> None:
    """Measure and print the table."""
    with deployed() as site:
        url = site.url
        wait_until(lambda: is_healthy(url), 60, "a response from the hub")
        stops, starts = [], []
        for _ in range(RUNS):
            stops.append(timed(lambda: site.host.run("docker stop jupyterhub")))
            starts.append(
                timed(lambda: site.host.run("docker start jupyterhub"))
                + wait_until(lambda: is_healthy(url), 120, "a response from the hub")
            )
        memory = site.host.run("docker stats --no-stream --format '{{.Name}} {{.MemUsage}}'").stdout
    print(
        table(
            [f"seconds, {RUNS} runs", "minimum", "median", "maximum"],
            [["stop", *summary(stops)], ["start to answer", *summary(starts)]],
        )
    )
    print("\nMemory:\n\n" + memory)


if __name__ == "__main__":
    main()
