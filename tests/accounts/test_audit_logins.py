"""Log-ins in the audit trail."""

import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from accounts.models import AuditEntry
from tests.factories import OperatorFactory, UserFactory

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"


def log_in(username, password=PASSWORD, address="203.0.113.9"):
    body = {"username": username, "password": password}
    return APIClient().post("/auth/token", body, format="json", REMOTE_ADDR=address)


def admin_log_in(username, password=PASSWORD):
    return Client().post(reverse("admin:login"), {"username": username, "password": password})


def test_it_keeps_who_logged_in_from_where():
    user = UserFactory(password=PASSWORD)
    answer = log_in(user.username)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.outcome, entry.via, entry.address) == ("login", "done", "api", "203.0.113.9")
    assert (entry.actor_id, entry.object_id, entry.request_id) == (user.id, user.id, answer["X-Request-Id"])


def test_it_keeps_whose_password_was_wrong():
    user = UserFactory(password=PASSWORD)
    log_in(user.username, "wrong")
    log_in(user.username, "wrong")
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.outcome, entry.code, entry.count) == ("login", "refused", "not_authenticated", 2)
    assert (entry.actor_id, entry.actor_name, entry.address) == (None, "anonymous", "203.0.113.9")
    assert (entry.object_id, entry.org_id) == (user.id, user.organization_id)


def test_it_counts_names_that_are_nobodys_and_does_not_keep_them():
    for name in ("nobody", "my secret password", "nobody else"):
        log_in(name)
    entry = AuditEntry.objects.get()
    assert (entry.object_id, entry.count, entry.address) == ("", 3, "203.0.113.9")
    assert "secret" not in str(AuditEntry.objects.values())


def test_it_keeps_a_lock_out_and_what_it_refuses(settings):
    settings.LOGIN_FAILURES = 2
    user = UserFactory(password=PASSWORD)
    for password in ("wrong", "wrong", PASSWORD):
        log_in(user.username, password)
    found = AuditEntry.objects.filter(object_id=user.id).values_list("action", "code", "count")
    assert set(found) == {("login", "not_authenticated", 2), ("lockout", "throttled", 1), ("login", "throttled", 1)}


def test_it_keeps_those_of_the_admin():
    operator, member = OperatorFactory(password=PASSWORD), UserFactory(password=PASSWORD)
    admin_log_in(operator.username)
    admin_log_in(operator.username, "wrong")
    admin_log_in(member.username)
    found = AuditEntry.objects.filter(via="admin").values_list("object_id", "outcome", "code")
    assert set(found) == {
        (operator.id, "done", ""),
        (operator.id, "refused", "not_authenticated"),
        (member.id, "refused", "forbidden"),
    }
    assert AuditEntry.objects.count() == 3
