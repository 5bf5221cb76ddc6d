"""Who gets a console, where, and when it is dead."""

import hashlib
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from django.db import connection

from accounts.actors import SYSTEM, Actor
from accounts.models import AuditEntry, Organization, Role
from common.errors import ActionNotAllowed, Forbidden, NotFound
from resources import actions, console
from resources.models import ConsoleToken, VirtualMachine
from resources.states import Status
from tasks.worker import drain
from tests.factories import OperatorFactory, OrganizationFactory, UserFactory
from tests.resources.rows import vm_row

pytestmark = pytest.mark.django_db

NOW = datetime(2025, 12, 3, 12, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def user():
    return UserFactory()


@pytest.fixture
def vm(user):
    return vm_row(user=user)


def opened(user, vm):
    """The token of a console just opened."""
    answer = console.open_console(Actor.of(user, via="api"), vm.id)
    return parse_qs(urlsplit(answer["url"]).query)["token"][0]


# Opening


def test_it_opens_a_console(settings, user, vm):
    settings.PUBLIC_URL = "https://aiwm.example.com"

    answer = console.open_console(Actor.of(user, via="api"), vm.id)

    token = answer["viewerUrl"].partition("#token=")[2]
    assert len(token) >= 43
    assert answer == {
        "resourceId": vm.id,
        "consoleType": "vnc",
        "url": f"wss://aiwm.example.com/console/vm-{vm.id}?token={token}",
        "viewerUrl": f"https://aiwm.example.com/console/view/vm-{vm.id}#token={token}",
        "expiresAt": "2025-12-03T13:05:00.000Z",
    }
    row = ConsoleToken.objects.get()
    assert (row.digest, row.user_id) == (hashlib.sha256(token.encode()).hexdigest(), user.id)


def test_the_socket_is_plain_where_the_site_is(settings, user, vm):
    settings.PUBLIC_URL = "http://localhost:3305"

    answer = console.open_console(Actor.of(user, via="api"), vm.id)

    assert answer["url"].startswith(f"ws://localhost:3305/console/vm-{vm.id}?token=")


def test_it_is_audited_without_its_token(user, vm):
    token = opened(user, vm)

    entry = AuditEntry.objects.get(action="vm.console")
    assert (entry.object_id, entry.actor_id, entry.org_id) == (vm.id, user.id, vm.organization_id)
    assert token not in f"{entry.before} {entry.after}"


def test_each_opening_has_a_token_of_its_own(user, vm):
    assert opened(user, vm) != opened(user, vm)
    assert ConsoleToken.objects.count() == 2


@pytest.mark.parametrize("status", [Status.QUEUED, Status.DEPLOYING, Status.STOPPING, Status.STOPPED, Status.FAILED])
def test_a_vm_without_a_screen_has_no_console(user, status):
    with pytest.raises(ActionNotAllowed) as raised:
        console.open_console(Actor.of(user, via="api"), vm_row(status, user=user).id)

    assert raised.value.extra["currentStatus"] == status
    assert "console" not in raised.value.extra["allowedActions"]
    assert not ConsoleToken.objects.exists()


def test_one_in_error_has_one(user):
    assert opened(user, vm_row(Status.ERROR, user=user))


def test_a_viewer_has_none_whatever_the_status(user):
    viewer = UserFactory(organization=user.organization, role=Role.VIEWER)

    for status in (Status.RUNNING, Status.STOPPED):
        with pytest.raises(Forbidden):
            console.open_console(Actor.of(viewer, via="api"), vm_row(status, user=user).id)


def test_another_organizations_vm_is_not_there(vm):
    with pytest.raises(NotFound):
        console.open_console(Actor.of(UserFactory(), via="api"), vm.id)


def test_a_deleted_vm_is_not_there(user):
    with pytest.raises(NotFound):
        console.open_console(Actor.of(user, via="api"), vm_row(user=user, deleted_at=NOW).id)


def test_the_system_has_no_eyes(vm):
    with pytest.raises(Forbidden, match="Only a user"):
        console.open_console(SYSTEM, vm.id)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite lets one transaction write at a time")
def test_a_stop_at_the_same_moment_leaves_no_token(monkeypatch, user, vm):
    def stop():
        actions.stop(Actor.of(user, via="api"), vm.id)
        connection.close()

    stopping = threading.Thread(target=stop)
    make = console.secrets.token_urlsafe

    def stop_first(size):  # after the VM was read, and before there is a token
        stopping.start()
        stopping.join(0.5)
        return make(size)

    monkeypatch.setattr(console.secrets, "token_urlsafe", stop_first)
    opened(user, vm)
    stopping.join()

    vm.refresh_from_db()
    assert vm.status == Status.STOPPING
    assert not ConsoleToken.objects.exists()


# Being valid


def test_a_token_is_good_until_it_expires(clock, user, vm):
    token = opened(user, vm)

    clock.shift(3599)
    session = console.valid_token(token)
    assert session is not None
    assert session.vm_id == vm.id
    clock.shift(1)
    assert console.valid_token(token) is None


@pytest.mark.parametrize("token", ["", "x", "é", "a" * 10_000])
def test_another_token_is_not_good(token, user, vm):
    opened(user, vm)

    assert console.valid_token(token) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda vm, user: setattr(vm, "status", Status.STOPPING),
        lambda vm, user: setattr(vm, "status", Status.STOPPED),
        lambda vm, user: setattr(vm, "deleted_at", NOW),
        lambda vm, user: setattr(user, "is_active", False),
        lambda vm, user: setattr(user, "role", Role.VIEWER),
        lambda vm, user: setattr(user, "organization", OrganizationFactory()),
    ],
    ids=["stopping", "stopped", "deleted", "switched off", "viewer now", "moved away"],
)
def test_a_token_is_dead_at_once_when_access_ends(change, user, vm):
    token = opened(user, vm)
    assert console.valid_token(token)

    change(vm, user)
    vm.save()
    user.save()

    assert console.valid_token(token) is None


def test_a_token_of_an_earlier_run_is_dead_though_nobody_closed_it(monkeypatch, clock, user, vm):
    token = opened(user, vm)
    monkeypatch.setattr(console, "close_consoles", lambda _: None)
    clock.shift(60)

    actions.restart(Actor.of(user, via="api"), vm.id)
    drain(ignore_waits=True)

    vm.refresh_from_db()
    assert vm.status == Status.RUNNING
    assert console.valid_token(token) is None
    assert console.valid_token(opened(user, vm))


def test_a_vm_that_never_came_up_has_a_console_of_its_own(user):
    vm = vm_row(Status.ERROR, user=user, started_at=None)
    token = opened(user, vm)
    assert console.valid_token(token)

    VirtualMachine.objects.filter(pk=vm.id).update(started_at=NOW)

    assert console.valid_token(token) is None


def test_an_operators_token_is_good_for_any_vm_as_long_as_they_are_one(vm):
    operator = OperatorFactory(role=Role.VIEWER, organization=Organization.objects.create(name="operators"))
    token = opened(operator, vm)
    assert console.valid_token(token)

    operator.is_staff = False
    operator.save()

    assert console.valid_token(token) is None


# Ending


def test_it_closes_the_consoles_of_one_vm(user, vm):
    other = opened(user, vm_row(user=user))
    token = opened(user, vm)

    console.close_consoles(vm.id)

    assert console.valid_token(token) is None
    assert console.valid_token(other)


def test_it_purges_what_has_expired(clock, user, vm):
    opened(user, vm)
    clock.shift(timedelta(minutes=30))
    later = opened(user, vm)
    clock.shift(timedelta(minutes=31))

    console.purge()

    assert ConsoleToken.objects.count() == 1
    assert console.valid_token(later)
