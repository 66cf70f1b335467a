import asyncio

import pytest

from loupe.build.fetching.addresses import PublicResolver, RefusedAddressError, is_public


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("10.1.2.3", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:192.168.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_public_addresses_are_told_from_private_ones(address, public):
    assert is_public(address) is public


def test_name_with_one_private_address_is_refused():
    async def resolve():
        return await PublicResolver().resolve("localhost")

    with pytest.raises(RefusedAddressError, match="localhost is at the private address"):
        asyncio.run(resolve())
