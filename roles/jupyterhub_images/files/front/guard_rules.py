"""The rules that isolate a hub's notebooks, as text for ``nft -f``. Pure: no I/O.

Two tables of nftables belong to one hub. Every ``drop`` in them is final, and ``accept`` is not: the rules of Docker
and of the site still apply. So they weaken nothing, and it does not matter which firewall Docker uses.

``table bridge`` decides what containers in the users' network may send each other. It has no connection tracking, which
many kernels do not have for bridges: the answers of a connection are TCP packets that are not its first one.
``table inet`` decides what notebooks may send to the host, and through it to other networks.

A container is a notebook until it is known as a hub or proxy: a new notebook is isolated from its first packet.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

PROXY_PORT = 8000
HUB_PORT = 8081
#: Private networks, networks between providers and customers, link-local addresses with the metadata of clouds,
#: networks for tests, from which Docker's default pools may be, and what Azure and Oracle give to virtual machines.
PRIVATE = (
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "198.18.0.0/15",
    "168.63.129.16/32", "192.0.0.0/24", "fc00::/7", "fe80::/10",
)  # fmt: skip
#: Before those of Docker and of most sites, which have priority 0.
PRIORITY = -10
ANSWER = "tcp flags & (syn | ack) != syn"
#: How an IPv6 address finds its neighbours.
NEIGHBOURS = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit }"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Inputs(NamedTuple):
    """What the rules depend on. Addresses and networks are IPv4 or IPv6.

    Attributes:
        hub: its name.
        isolation: ``full`` or ``peers``.
        bridge: name of the interface of the users' network.
        subnets: of the users' network.
        hubs: addresses of hubs in it; there are two while one replaces the other.
        proxies: the same of proxies.
        direct: addresses of servers that ask the hub, not the proxy: a hub of an earlier version started them.
        others: subnets of other Docker networks.
        ports: of the front on this host.
        allowed: networks and addresses that notebooks may reach although they are private. Those in the users' network
            are services, which notebooks and they may reach; the host itself only counts as a single address.
        hosts: addresses with a TCP port that they may reach.
        resolvers: addresses of DNS servers.
    """

    hub: str
    isolation: str
    bridge: str
    subnets: tuple[str, ...]
    hubs: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    direct: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    allowed: tuple[str, ...] = ()
    hosts: tuple[tuple[str, int], ...] = ()
    resolvers: tuple[str, ...] = ()


def tables(hub: str) -> tuple[str, str]:
    """Return the names of a hub's tables, with their families."""
    return f"bridge jh-{hub}", f"inet jh-{hub}"


def hubs(listing: str) -> set[str]:
    """Return the hubs that have tables, from the output of ``nft list tables``."""
    start = f"table {tables('')[0]}"  # a hub has this one with each kind of isolation
    return {line.removeprefix(start) for line in listing.splitlines() if line.startswith(start)}


def remove(hub: str) -> str:
    """Return the text that removes a hub's tables, whether they exist or not."""
    return "".join(f"table {table} {{ }}\ndelete table {table}\n" for table in tables(hub))


def render(inputs: Inputs) -> str:
    """Return the text that replaces a hub's tables, as one transaction."""
    bridge, inet = tables(inputs.hub)
    found = [remove(inputs.hub), _table(bridge, _bridge(inputs))]
    if inputs.isolation == "full":
        found.append(_table(inet, _inet(inputs)))
    return "".join(found)


def _bridge(inputs: Inputs) -> dict[str, list[str]]:
    """Return the chains of the table for packets between containers."""
    hook = [f"type filter hook forward priority {PRIORITY}; policy accept;"]
    chains = {"forward": hook}
    for family, network in _families(inputs.subnets):
        hook.append(f"{family} saddr {network} jump from_{family}")
        servers = [*inputs.hubs, *inputs.proxies]
        services = [one for one in inputs.allowed if _is_single(one) and _is_in(one, network)]
        chains[f"from_{family}"] = [
            *([f"{NEIGHBOURS} accept"] if family == "ip6" else []),
            *_rules("accept", family, ("saddr", servers)),
            *_rules(f"{ANSWER} accept", family, ("daddr", servers)),
            *_rules(f"tcp dport {PROXY_PORT} accept", family, ("daddr", inputs.proxies)),
            *_rules(f"tcp dport {HUB_PORT} accept", family, ("saddr", inputs.direct), ("daddr", inputs.hubs)),
            *(rule for field in ("saddr", "daddr") for rule in _rules("accept", family, (field, services))),
            "drop",
        ]
        if family == "ip6":
            # Containers have these addresses, too, and can compute their neighbours'. 546 and 547 are DHCPv6, which
            # other bridges of this host may need: the rule cannot name the bridge (NFT_BRIDGE_META).
            hook.append("ip6 saddr fe80::/10 ip6 daddr fe80::/10 meta l4proto { tcp, udp } th dport != 546-547 drop")
            # A container chooses which of its addresses it sends from.
            hook.append(f"ip6 saddr fe80::/10 ip6 daddr {network} jump from_ip6")
    return chains


def _inet(inputs: Inputs) -> dict[str, list[str]]:
    """Return the chains of the table for packets to the host and through it."""
    bridge, families = f'iifname "{inputs.bridge}"', [family for family, _ in _families(inputs.subnets)]
    exceptions, blocked, allowed = ["ct direction reply accept"], [], []
    for family in families:
        exceptions += [
            *_rules("accept", family, ("saddr", [*inputs.hubs, *inputs.proxies])),
            *_rules("accept", family, ("daddr", filter(_is_single, inputs.allowed))),
            *_rules("meta l4proto { tcp, udp } th dport 53 accept", family, ("daddr", inputs.resolvers)),
        ]
        for address, port in inputs.hosts:
            exceptions += _rules(f"tcp dport {port} accept", family, ("daddr", [address]))
        allowed += _rules("accept", family, ("daddr", inputs.allowed))
        blocked += _rules("drop", family, ("daddr", [*PRIVATE, *inputs.others]))
    if "ip6" in families:
        exceptions.append(f"{NEIGHBOURS} accept")
    else:
        blocked.append("meta nfproto ipv6 drop")
    ports = [f"tcp dport {{ {', '.join(map(str, sorted(set(inputs.ports))))} }} accept"] if inputs.ports else []
    return {
        "exceptions": exceptions,
        "input": [
            f"type filter hook input priority {PRIORITY}; policy accept;",
            f"{bridge} jump exceptions",
            *(f"{bridge} {rule}" for rule in [*(ports if families else []), "drop"]),
        ],
        # A network that has the host in it does not open the host.
        "to_world": ["jump exceptions", *allowed, *blocked],
        # With bridge-nf-call-iptables, packets between containers pass here, too.
        "forward": [
            f"type filter hook forward priority {PRIORITY}; policy accept;",
            f'{bridge} oifname != "{inputs.bridge}" jump to_world',
        ],
    }


def _table(name: str, chains: dict[str, list[str]]) -> str:
    # A chain has to stand before those that jump to it.
    ordered = sorted(chains.items(), key=lambda chain: chain[1][0].startswith("type ") or chain[0] == "to_world")
    lines = [f"table {name} {{"]
    for chain, rules in ordered:
        lines += [f"    chain {chain} {{", *(f"        {rule}" for rule in rules), "    }"]
    return "\n".join([*lines, "}", ""])


def _families(subnets: Iterable[str]) -> list[tuple[str, str]]:
    """Return each subnet with its family in nftables."""
    return [(_family(network), str(network)) for network in map(_network, subnets)]


def _network(text: str) -> Network:
    return ipaddress.ip_network(text, strict=False)  # Docker accepts a subnet with the bits of a host


def _is_single(text: str) -> bool:
    """Return whether this is one address, not a network."""
    return _network(text).num_addresses == 1


def _is_in(address: str, network: str) -> bool:
    return _network(address).network_address in _network(network)


def _family(network: Network) -> str:
    return "ip" if network.version == 4 else "ip6"


def _rules(verdict: str, family: str, *matches: tuple[str, Iterable[str]]) -> list[str]:
    """Return a rule that matches all of these fields, none if one of them has no address of the family."""
    shown = []
    for field, values in matches:
        networks = [network for network in map(_network, values) if _family(network) == family]
        if not networks:
            return []
        # nft refuses networks that overlap.
        collapsed = ipaddress.collapse_addresses(networks)  # type: ignore[type-var]  # all are of one version
        shown.append(f"{family} {field} {{ {', '.join(map(_plain, collapsed))} }}")
    return [" ".join([*shown, verdict])]


def _plain(network: Network) -> str:
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)
