"""The libvirt backend takes options that make sense, and says what is wrong with others."""

import pytest

from vmbackends.libvirt.options import Options


def test_it_needs_no_options():
    options = Options.of({})

    assert (options.connect_s, options.keepalive_s, options.keepalive_count) == (5, 5, 3)
    assert (options.first_backoff_s, options.longest_backoff_s) == (1, 60)


def test_it_takes_what_it_is_given():
    options = Options.of({"connect_s": 2.5, "keepalive_s": 10, "keepalive_count": 1, "longest_backoff_s": 30})

    assert (options.connect_s, options.keepalive_s, options.keepalive_count) == (2.5, 10, 1)
    assert options.longest_backoff_s == 30


def test_it_refuses_options_that_it_does_not_know():
    with pytest.raises(ValueError, match=r"^LibvirtBackend knows no option deploy_s, keepalives$"):
        Options.of({"keepalives": 3, "deploy_s": 1, "connect_s": 5})


@pytest.mark.parametrize(
    ("option", "value", "takes"),
    [
        ("connect_s", 0, "seconds, from 0.1 to 300"),
        ("connect_s", "5", "seconds, from 0.1 to 300"),
        ("connect_s", True, "seconds, from 0.1 to 300"),
        ("connect_s", float("nan"), "seconds, from 0.1 to 300"),
        ("keepalive_s", 0, "a whole number, from 1 to 300"),
        ("keepalive_s", 2.5, "a whole number, from 1 to 300"),
        ("keepalive_count", 0, "a whole number, from 1 to 100"),
        ("keepalive_count", False, "a whole number, from 1 to 100"),
        ("first_backoff_s", -1, "seconds, from 0 to 3600"),
        ("longest_backoff_s", None, "seconds, from 0 to 3600"),
    ],
)
def test_it_refuses_values_that_make_no_sense(option, value, takes):
    with pytest.raises(ValueError, match=f"^{option} is {value!r}; it takes {takes}$"):
        Options.of({option: value})


def test_it_refuses_a_first_backoff_longer_than_the_longest():
    with pytest.raises(
        ValueError, match="first_backoff_s is 90; it may be no more than longest_backoff_s, which is 60"
    ):
        Options.of({"first_backoff_s": 90})
