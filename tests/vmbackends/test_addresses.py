"""What guests say of their addresses is not taken at its word."""

import pytest

from vmbackends.addresses import usable_ipv4


@pytest.mark.parametrize("text", ["10.0.0.9", "192.168.100.10", "203.0.113.7", "198.51.100.1", "100.64.0.1"])
def test_it_takes_what_a_host_can_have(text):
    assert usable_ipv4(text) == text


@pytest.mark.parametrize(
    "text",
    [
        None, 167772169, "", "x" * 323, "10.0.0.9 ", "10.0.0", "10.0.0.256", "010.0.0.9", "10.0.0.9/24", "fe80::1",
        "<b>10.0.0.9</b>", "127.0.0.1", "0.0.0.0", "0.1.2.3", "169.254.169.254", "224.0.0.1", "240.0.0.1",
        "255.255.255.255", "\u0661\u0660.0.0.9",
    ],
)  # fmt: skip
def test_it_takes_nothing_else(text):
    assert usable_ipv4(text) is None
