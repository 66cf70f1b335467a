"""Refuse addresses of private networks, so that a table's URLs cannot reach into one."""

import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

__all__ = ["PublicResolver", "RefusedAddressError", "is_public"]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


class RefusedAddressError(Exception):
    """A host's address is not one of the public internet."""


class PublicResolver(AbstractResolver):
    """Resolve names, and refuse a name with any private address.

    The connection uses the very addresses that were checked, so a name that changes its answer
    between the check and the connection gains nothing.
    """

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Give the addresses of a name.

        Raises:
            RefusedAddressError: one of them is not public.
        """
        found = await self._resolver.resolve(host, port, family)
        for each in found:
            if not is_public(each["host"]):
                raise RefusedAddressError(f"{host} is at the private address {each['host']}")
        return found

    async def close(self) -> None:
        """Release nothing: the resolver holds nothing."""


def is_public(address: str) -> bool:
    """Tell whether an IP address belongs to the public internet, whatever it is wrapped in."""
    parsed = ipaddress.ip_address(address.partition("%")[0])  # after % stands the zone
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return parsed.is_global and not parsed.is_multicast
