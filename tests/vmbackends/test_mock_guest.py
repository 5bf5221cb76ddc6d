"""What the mock's guests say."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from tests.vmbackends.specs import A100, DHCP, vm_spec
from vmbackends.base import NodeRef, PowerIntent
from vmbackends.mock import MockBackend

SINCE = datetime(2025, 12, 3, 10, 5, tzinfo=UTC)
NODE = NodeRef("675a1b2c3d4e5f6a7b8c9d0e", "worker-01")


def said(vm, at, since=None, limit=100):
    with time_machine.travel(at, tick=False):
        return MockBackend().guest_log(NODE, vm, since, limit)


def running(**changes):
    return vm_spec(power=PowerIntent(on=True, since=SINCE), **changes)


def test_a_boot_is_told_as_it_goes():
    vm = running()

    assert said(vm, SINCE) == []
    lines = said(vm, SINCE + timedelta(seconds=20))

    told = {line.message: (line.timestamp - SINCE).total_seconds() for line in lines}
    assert told["Network interface eth0 configured with IP 192.168.100.10"] == 10
    assert told["Cloud-init completed"] == 15
    assert told["SSH service ready"] == 20
    assert "SSH service ready" not in [line.message for line in said(vm, SINCE + timedelta(seconds=19))]


def test_windows_has_rdp_and_gpus_are_named():
    vm = running(os_image="windows-server-2022", cloud_init=None, gpus=(A100,), network=DHCP)

    messages = [line.message for line in said(vm, SINCE + timedelta(minutes=1))]

    assert "RDP service ready" in messages
    assert "NVIDIA driver found GPU-0" in messages
    assert any(message.startswith("Network interface Ethernet configured with IP 10.1.44.") for message in messages)


def test_a_guest_that_is_off_says_nothing():
    assert list(said(vm_spec(), SINCE)) == []


@pytest.mark.parametrize("image", ["ubuntu-22.04", "windows-server-2019"])
def test_it_says_something_now_and_then_and_nothing_of_the_future(image):
    now = SINCE + timedelta(days=30)

    lines = said(running(os_image=image), now, limit=1000)

    assert len(lines) == 1000
    assert lines == sorted(lines, key=lambda line: line.timestamp)
    assert lines[-1].timestamp <= now
    assert lines[0].timestamp > SINCE
    assert len({line.message for line in lines}) > 2
    assert not any("{" in line.message for line in lines)


def test_the_newest_come_first_to_the_limit():
    vm = running()
    now = SINCE + timedelta(days=1)

    everything = said(vm, now, limit=1000)

    assert said(vm, now, limit=5) == everything[-5:]
    assert said(vm, now, limit=0) == []


def test_only_lines_since_then_are_told():
    vm = running()
    now = SINCE + timedelta(days=1)
    everything = said(vm, now, limit=1000)
    since = everything[10].timestamp

    assert said(vm, now, since=since, limit=1000) == everything[10:]
    assert said(vm, now, since=now + timedelta(seconds=1)) == []
