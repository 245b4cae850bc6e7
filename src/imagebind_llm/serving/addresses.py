"""Which addresses of the internet a server may call for somebody else: public ones only."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All that is assigned for use between networks (IANA, IPv6 address space). What lies outside is local,
mapped or translated."""
_NAT64 = IPv6Network("64:ff9b::/96")
"""IPv4 behind a translator (RFC 6052): as public as the IPv4 address in its last 32 bits."""
_NOT_V6 = [
    IPv6Network(net)
    for net in (
        "2001::/23",  # protocol assignments (RFC 2928), Teredo tunnels among them
        "2001:db8::/32",  # documentation (RFC 3849)
        "2002::/16",  # 6to4 tunnels to any IPv4 address; deprecated (RFC 7526)
        "3fff::/20",  # documentation (RFC 9637)
    )
]
_NOT_V4 = [
    IPv4Network(net)
    for net in (
        "100.64.0.0/10",  # carriers' own networks (RFC 6598); metadata services of some clouds
        "192.88.99.0/24",  # 6to4 relays; deprecated (RFC 7526)
        "168.63.129.16/32",  # Azure's host agent, on every virtual machine there
    )
]
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
"""Interfaces that are tunnels to the IPv4 address in the last 32 bits (RFC 5214)."""


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the public internet, and no way around to one that is not."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
        tunnel = int(address) >> 32 & 0xFFFF_FFFF in _ISATAP
        return address in _GLOBAL_UNICAST and not tunnel and not any(address in net for net in _NOT_V6)
    if address.is_multicast or address.is_reserved or any(address in net for net in _NOT_V4):
        return False
    return address.is_global


def literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host of a URL is, without brackets; None for a name.

    Raises:
        ValueError: it ends in a number as no name does, and is no address written in full: ``127.1``,
            ``0177.0.0.1``, ``2130706433`` and ``0x7f000001`` are what some systems take for 127.0.0.1.
    """
    try:
        return ip_address(host)
    except ValueError:
        last = host.removesuffix(".").rpartition(".")[2].lower()
        if last.isdigit() or last.startswith("0x") or ":" in host or "%" in host:
            raise ValueError("an address that is not written in full") from None
        return None
