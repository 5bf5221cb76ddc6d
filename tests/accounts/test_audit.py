"""accounts.audit"""

from datetime import UTC, date, datetime

import pytest

from accounts import audit
from accounts.actors import SYSTEM, Actor
from accounts.models import AuditEntry
from tests.factories import UserFactory


@pytest.mark.django_db
def test_it_says_who_what_and_from_where():
    user = UserFactory()
    actor = Actor.of(user, via="api", address="203.0.113.9", request_id="request-1")
    audit.record(
        actor, "vm.change", object_type="vm", object_id="a" * 24, org_id="b" * 24, before={"n": 1}, after={"n": 2}
    )
    entry = AuditEntry.objects.get()
    assert (entry.actor_id, entry.actor_name, entry.via, entry.address, entry.request_id) == (
        user.id,
        user.username,
        "api",
        "203.0.113.9",
        "request-1",
    )
    assert (entry.action, entry.object_type, entry.object_id, entry.org_id) == ("vm.change", "vm", "a" * 24, "b" * 24)
    assert (entry.before, entry.after) == ({"n": 1}, {"n": 2})


@pytest.mark.django_db
def test_it_takes_the_system():
    audit.record(SYSTEM, "vm.sweep", object_type="vm", object_id="a", org_id=None)
    entry = AuditEntry.objects.get()
    assert (entry.actor_id, entry.org_id, entry.before, entry.after) == (None, None, None, None)


@pytest.mark.parametrize(
    "name", ["password", "newPassword", "PASSWD", "secret", "clientSecret", "token", "refreshToken", "sshPrivateKey",
             "ssh_private_key", "private_key"]
)  # fmt: skip
def test_it_masks_secrets_at_any_depth(name):
    assert audit.masked({"a": [{"b": {name: "hunter2"}}]}) == {"a": [{"b": {name: "***"}}]}
    assert audit.masked({name: {"deep": "hunter2"}}) == {name: "***"}


def test_it_leaves_the_rest():
    value = {"sshPublicKey": "ssh-ed25519 AAAA", "n": 1, "f": 1.5, "t": True, "none": None, "password": None}
    assert audit.masked(value) == value


def test_it_makes_json_of_it():
    assert audit.masked(
        {"at": datetime(2026, 1, 1, tzinfo=UTC), "on": date(2026, 1, 1), "s": {"x"}, 5: Exception("e")}
    ) == {
        "at": "2026-01-01T00:00:00.000Z",
        "on": "2026-01-01",
        "s": ["x"],
        "5": "e",
    }
