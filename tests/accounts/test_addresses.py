"""common.addresses"""

import pytest
from django.test import RequestFactory

from common.addresses import client_address, counted_as


@pytest.mark.parametrize(
    ("proxies", "forwarded", "peer", "expected"),
    [
        (0, "203.0.113.9", "10.0.0.1", "10.0.0.1"),
        (1, "203.0.113.9", "10.0.0.1", "203.0.113.9"),
        (1, "6.6.6.6, 203.0.113.9", "10.0.0.1", "203.0.113.9"),
        (2, "6.6.6.6, 203.0.113.9, 10.0.0.2", "10.0.0.1", "203.0.113.9"),
        (2, "203.0.113.9", "10.0.0.1", "10.0.0.1"),
        (1, "nonsense", "10.0.0.1", "10.0.0.1"),
        (1, None, "10.0.0.1", "10.0.0.1"),
        (0, None, "::ffff:10.0.0.1", "10.0.0.1"),
        (0, None, "2001:DB8::1", "2001:db8::1"),
        (0, None, "", ""),
    ],
)
def test_it_believes_the_proxies_that_are_ours(settings, proxies, forwarded, peer, expected):
    settings.TRUSTED_PROXIES = proxies
    extra = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
    assert client_address(RequestFactory().get("/", REMOTE_ADDR=peer, **extra)) == expected


def test_it_counts_a_whole_ipv6_network_as_one():
    assert counted_as("2001:db8::1") == counted_as("2001:db8::ffff") != counted_as("2001:db8:0:1::1")
    assert counted_as("10.0.0.1") == "10.0.0.1"
    assert counted_as("") == ""
