"""accounts.audit: refusals, how they are counted, and what keeps the trail as it was written."""

import logging
from datetime import timedelta

import pytest
from django import db
from django.utils import timezone

from accounts import audit
from accounts.actors import Actor, stranger
from accounts.models import AuditEntry
from common import counters
from common.db import atomic
from common.errors import Conflict, DomainError
from tests.factories import OrganizationFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _noon(time_machine):
    time_machine.move_to("2026-01-01T12:00:00Z", tick=False)


def actor_of(user=None, **changes):
    return Actor.of(user or UserFactory(), **{"via": "api", "address": "203.0.113.9", "request_id": "r", **changes})


def refuse(actor, action="vm.start", object_id="a" * 24, code="locked", **changes):
    audit.refused(
        actor,
        action,
        code=code,
        detail="A task runs.",
        object_type="vm",
        object_id=object_id,
        **{"org_id": None, **changes},
    )


def test_it_says_what_was_refused_and_why():
    user, org = UserFactory(), OrganizationFactory()
    refuse(actor_of(user), org_id=org.id)
    entry = AuditEntry.objects.get()
    assert (entry.actor_id, entry.actor_org_id, entry.org_id) == (user.id, user.organization_id, org.id)
    assert (entry.outcome, entry.code, entry.detail, entry.count) == ("refused", "locked", "A task runs.", 1)
    assert (entry.address, entry.request_id, entry.root_id) == ("203.0.113.9", "r", "a" * 24)


def test_it_counts_what_is_alike_in_a_minute(time_machine):
    actor = actor_of()
    for _ in range(5):
        refuse(actor)
    assert AuditEntry.objects.get().count == 5
    time_machine.shift(timedelta(seconds=60))
    refuse(actor)
    assert [entry.count for entry in AuditEntry.objects.all()] == [1, 5]


@pytest.mark.parametrize("other", [{"action": "vm.stop"}, {"object_id": "b" * 24}, {"code": "forbidden"}])
def test_it_keeps_apart_what_differs(other):
    actor = actor_of()
    refuse(actor)
    refuse(actor, **other)
    assert AuditEntry.objects.count() == 2


def test_it_keeps_users_apart():
    refuse(actor_of())
    refuse(actor_of())
    assert AuditEntry.objects.count() == 2


@pytest.mark.parametrize(
    ("addresses", "rows"),
    [
        (["203.0.113.9", "203.0.113.9"], 1),
        (["203.0.113.9", "203.0.113.10"], 2),
        (["2001:db8::1", "2001:db8::ffff:1"], 1),  # one /64
        (["2001:db8::1", "2001:db8:0:1::1"], 2),
    ],
)
def test_it_counts_strangers_by_their_network(addresses, rows):
    for address in addresses:
        refuse(stranger("api", address), object_id="")
    assert AuditEntry.objects.count() == rows


def test_a_flood_costs_a_hundredth_of_the_writes(django_assert_max_num_queries):
    actor = actor_of()
    for _ in range(10):
        refuse(actor)
    with django_assert_max_num_queries(10):
        for _ in range(990):
            refuse(actor)
    assert AuditEntry.objects.get().count == 1000


def test_it_counts_on_in_the_row_of_another_process():
    actor = actor_of()
    refuse(actor)
    counters.clear()  # which knows nothing of what the first has counted
    refuse(actor)
    assert AuditEntry.objects.get().count == 2


def test_many_different_ones_become_one_row():
    actor, other = actor_of(), actor_of()
    for number in range(audit.MOST_ROWS_OF_USER + 7):
        refuse(actor, object_id=f"{number:024x}")
    refuse(other)
    rows = AuditEntry.objects.filter(actor_id=actor.user_id)
    assert rows.count() == audit.MOST_ROWS_OF_USER + 1
    assert rows.get(action=audit.MANY).count == 7
    assert AuditEntry.objects.filter(actor_id=other.user_id, action="vm.start").exists()


def test_strangers_cannot_fill_it_from_many_addresses(monkeypatch):
    monkeypatch.setattr(audit, "MOST_ROWS_OF_STRANGERS", 5)
    for number in range(15):
        refuse(stranger("api", f"203.0.113.{number}"), object_id="")
    assert AuditEntry.objects.count() == 6
    assert sum(AuditEntry.objects.values_list("count", flat=True)) == 15


def test_a_failure_to_write_is_logged_and_raises_nothing(monkeypatch, caplog):
    def gone(*args, **kwargs):
        raise db.OperationalError("no such host")

    monkeypatch.setattr(audit, "_add", gone)
    with caplog.at_level(logging.ERROR):
        refuse(actor_of())
    assert "a refusal could not be recorded" in caplog.text


def test_an_attempt_keeps_the_refusal_and_raises_it():
    @atomic
    def action():
        audit.record(actor, "vm.start", object_type="vm", object_id="a", org_id=None)
        raise Conflict("Taken.")

    actor = actor_of()
    with pytest.raises(DomainError, match="Taken"), audit.attempt(actor, "vm.start", object_type="vm", object_id="a"):
        action()
    entry = AuditEntry.objects.get()
    assert (entry.outcome, entry.code, entry.detail) == ("refused", "conflict", "Taken.")


# Append-only


@pytest.fixture
def entry():
    return audit.record(actor_of(), "vm.start", object_type="vm", object_id="a", org_id=None)


def test_an_entry_cannot_be_saved_again(entry):
    entry.action = "vm.stop"
    with pytest.raises(TypeError, match="append-only"):
        entry.save()
    with pytest.raises(TypeError, match="append-only"):
        AuditEntry.objects.get().save()
    with pytest.raises(TypeError, match="append-only"):
        AuditEntry.objects.update_or_create(id=entry.id, defaults={"action": "vm.stop"})


def test_an_entry_cannot_be_written_over(entry):
    other = AuditEntry(id=entry.id, actor_name="x", via="api", action="x", object_type="x", object_id="x")
    with pytest.raises(db.IntegrityError):
        other.save()


def test_entries_cannot_be_changed_or_deleted(entry):
    rows = AuditEntry.objects.filter(pk=entry.pk)
    for change in (
        lambda: rows.update(action="x"),
        rows.delete,
        entry.delete,
        lambda: AuditEntry.objects.bulk_update([entry], ["action"]),
        lambda: AuditEntry._base_manager.update(action="x"),
        lambda: AuditEntry._default_manager.all().delete(),
        lambda: AuditEntry.objects.bulk_create(
            [entry], update_conflicts=True, update_fields=["action"], unique_fields=["id"]
        ),
    ):
        with pytest.raises(TypeError, match="append-only"), db.transaction.atomic():
            change()
    assert AuditEntry.objects.get().action == "vm.start"


# How long it is kept


def test_it_is_kept_for_ever_unless_told_otherwise(entry, time_machine):
    time_machine.shift(timedelta(days=5000))
    audit.purge()
    assert AuditEntry.objects.count() == 1


def test_it_forgets_what_is_older_and_says_so(entry, settings, time_machine):
    settings.AUDIT_DAYS = 30
    time_machine.shift(timedelta(days=30))
    audit.purge()
    assert AuditEntry.objects.get() == entry
    time_machine.shift(timedelta(seconds=1))
    kept = audit.record(actor_of(), "vm.stop", object_type="vm", object_id="a", org_id=None)
    audit.purge()
    purged = AuditEntry.objects.get(action="audit.purge")
    assert set(AuditEntry.objects.all()) == {kept, purged}
    assert purged.after == {"before": audit.isoformat(timezone.now() - timedelta(days=30)), "entries": 1}
