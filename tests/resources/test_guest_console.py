"""Consoles that only workers can read are kept, so that the API can show them at once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from accounts.actors import Actor
from nodes.models import Node
from resources import actions, guest_console, logs
from resources.models import GuestConsole, VirtualMachine
from resources.states import Status
from tests.factories import NodeFactory, OperatorFactory, UserFactory, VirtualMachineFactory
from vmbackends import get_backend
from vmbackends.base import Capabilities, ConsoleTail, LogLine
from vmbackends.errors import NodeUnreachable

pytestmark = pytest.mark.django_db

BOOT = datetime(2025, 12, 3, 12, tzinfo=UTC)


class Consoles:
    """What guests have written, by the VM's id, on a backend of which only workers may ask."""

    def __init__(self, backend):
        self.texts = {}
        self.asked = []
        self.down = False
        backend.capabilities = Capabilities()
        backend.console_tails = self.tails

    def tails(self, node, vms, most_lines):
        if self.down:
            raise NodeUnreachable(f"Node {node.name} does not answer.")
        self.asked.append({vm.id: known for vm, known in vms.items()})
        return {
            vm.id: ConsoleTail(size, tuple(lines[-most_lines:]))
            for vm, known in vms.items()
            for size, lines in [self.texts.get(vm.id, (None, []))]
            if size not in (None, known)
        }

    def write(self, vm, *texts):
        lines = [LogLine(BOOT + timedelta(seconds=n), "info", text) for n, text in enumerate(texts)]
        self.texts[vm.id] = (sum(map(len, texts)), lines)


@pytest.fixture
def consoles():
    return Consoles(get_backend())


@pytest.fixture
def vm():
    made = VirtualMachineFactory(status=Status.RUNNING)
    made.node.online = True
    made.node.save(update_fields=["online"])
    return made


def messages(vm, **query):
    return [line.message for line in logs.read(vm, **query)]


def test_what_a_guest_writes_is_in_its_log(consoles, vm):
    consoles.write(vm, "Linux version 6.1", "login:")
    guest_console.read_all()
    assert [m for m in messages(vm) if m in ("Linux version 6.1", "login:")] == ["Linux version 6.1", "login:"]
    assert messages(vm, level="error") == []
    assert "Linux version 6.1" not in messages(vm, since=BOOT + timedelta(seconds=1))


def test_one_that_has_not_grown_is_not_read_again(consoles, vm):
    consoles.write(vm, "one")
    guest_console.read_all()
    guest_console.read_all()
    assert consoles.asked == [{vm.id: None}, {vm.id: 3}]
    consoles.write(vm, "one", "two")
    guest_console.read_all()
    assert GuestConsole.objects.get().size_bytes == 6


def test_those_that_cannot_have_written_are_not_asked(consoles, vm):
    VirtualMachineFactory(status=Status.QUEUED, node=vm.node)
    VirtualMachineFactory(status=Status.STOPPED, node=vm.node)
    guest_console.read_all()
    assert consoles.asked == [{vm.id: None}]


def test_a_node_that_does_not_answer_keeps_what_was_read(consoles, vm, caplog):
    consoles.write(vm, "one")
    guest_console.read_all()
    consoles.down = True
    guest_console.read_all()
    guest_console.read_one(vm)
    assert "could not be read" in caplog.text
    assert "one" in messages(vm)


@pytest.mark.parametrize("lost", [False, True])
def test_it_goes_with_a_vm_that_is_deleted_or_forgotten(consoles, vm, lost):
    consoles.write(vm, "one")
    guest_console.read_one(vm)
    if lost:
        Node.objects.update(lost=True)
        actions.forget(Actor.of(OperatorFactory(), via="api"), vm.id)
    else:
        VirtualMachine.objects.filter(pk=vm.pk).update(status=Status.FAILED, deployed=False)
        actions.delete(Actor.of(vm.owner, via="api"), vm.id)
    assert not GuestConsole.objects.exists()


def test_a_backend_that_anybody_may_ask_has_nothing_kept(vm):
    guest_console.read_all()
    guest_console.read_one(vm)
    assert not GuestConsole.objects.exists()


def test_the_api_shows_it_to_those_who_see_the_vm(consoles, vm, client_of):
    consoles.write(vm, "secret of the guest")
    guest_console.read_one(vm)
    shown = client_of(vm.owner).get(f"/resources/{vm.id}/logs")
    assert "secret of the guest" in shown.content.decode()
    assert client_of(UserFactory()).get(f"/resources/{vm.id}/logs").status_code == 404


def test_what_is_told_of_one_node_is_told_of_it_alone(consoles, vm):
    other = VirtualMachineFactory(status=Status.RUNNING, node=NodeFactory(online=False))
    consoles.write(other, "unheard")
    guest_console.read_all()
    assert [set(asked) for asked in consoles.asked] == [{vm.id}]


# What does not reach back to the guest's start


def undated(consoles, vm, size, *texts, at=BOOT):
    consoles.texts[vm.id] = (size, [LogLine(at, "info", text) for text in texts])


@pytest.fixture
def cut_off(consoles, vm, monkeypatch):
    """What is read from now on comes behind what was read before."""
    consoles.write(vm, "one", "two", "thr")
    guest_console.read_all()
    backend = get_backend()
    tails = backend.console_tails
    backend.console_tails = lambda *args: {vm_id: replace(tail, dated=False) for vm_id, tail in tails(*args).items()}


def kept():
    return [((at - BOOT.timestamp()), text) for at, text in GuestConsole.objects.get().lines]


@pytest.mark.usefixtures("cut_off")
def test_nothing_read_takes_nothing_away(consoles, vm):
    undated(consoles, vm, 300_000)
    guest_console.read_all()
    assert kept() == [(0, "one"), (1, "two"), (2, "thr")]
    assert GuestConsole.objects.get().size_bytes == 300_000


@pytest.mark.usefixtures("cut_off")
@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        (("two", "three", "four"), ["one", "two", "three", "four"]),
        (("one", "two", "thr", "four"), ["one", "two", "thr", "four"]),
        (("four", "five"), ["one", "two", "thr", "four", "five"]),
        (("two", "thr"), ["one", "two", "thr"]),
        (("thr", "one", "two"), ["one", "two", "thr", "one", "two"]),
    ],
)
def test_what_is_read_comes_behind_what_is_kept_and_nothing_twice(consoles, vm, texts, shown):
    undated(consoles, vm, 300_000, *texts)
    guest_console.read_all()
    assert [text for _, text in kept()] == shown


@pytest.mark.usefixtures("cut_off")
def test_it_is_no_older_than_what_is_kept_and_not_from_the_future(consoles, vm):
    undated(consoles, vm, 300_000, "early")
    guest_console.read_all()
    undated(consoles, vm, 300_001, "early", "late", at=BOOT + timedelta(days=70_000))
    before = timezone.now()
    guest_console.read_all()
    (*_, (early, _), (late, _)) = GuestConsole.objects.get().lines
    assert early == BOOT.timestamp() + 2
    assert before.timestamp() <= late <= timezone.now().timestamp()


@pytest.mark.usefixtures("cut_off")
def test_of_all_of_it_the_newest_are_kept(consoles, vm):
    for first in range(0, 3000, 700):
        undated(consoles, vm, first + 1, *(str(n) for n in range(first, first + 1000)))
        guest_console.read_all()
    assert [text for _, text in kept()] == [str(n) for n in range(2800, 3800)]
