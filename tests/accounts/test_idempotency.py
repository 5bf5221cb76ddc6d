"""The Idempotency-Key header."""

from datetime import timedelta

import pytest
from django.db import OperationalError
from django.test import Client

from accounts import idempotency
from accounts.models import AuditEntry, IdempotencyKey
from accounts.tokens import issue
from tests.factories import NodeFactory, OperatorFactory, OrganizationFactory, UserFactory, create_body

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.accounts.urls")]


def post(user, name="web", key="key-1", path="/things", **extra):
    if key is not None:
        extra["HTTP_IDEMPOTENCY_KEY"] = key
    return Client(raise_request_exception=False).post(
        path,
        {"name": name},
        content_type="application/json",
        HTTP_AUTHORIZATION=f"Bearer {issue(user).access}",
        **extra,
    )


def test_it_answers_the_second_like_the_first():
    user = UserFactory()
    first, second = post(user), post(user)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert "Idempotent-Replayed" not in first
    assert second["Idempotent-Replayed"] == "true"
    assert (second["Location"], second["ETag"]) == ("/things/web", '"1"')
    assert AuditEntry.objects.filter(outcome="done").count() == 1


def test_it_does_nothing_without_the_header():
    user = UserFactory()
    post(user, key=None)
    post(user, key=None)
    assert AuditEntry.objects.filter(outcome="done").count() == 2
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "schl\u00fcssel"])
def test_it_refuses_a_malformed_key(key):
    response = post(UserFactory(), key=key)
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "Idempotency-Key"


def test_it_refuses_another_body():
    user = UserFactory()
    post(user)
    response = post(user, name="db")
    assert response.status_code == 409
    assert response.json()["code"] == "conflict"


def test_it_takes_another_owner_for_another_body():
    user = OperatorFactory()
    post(user, HTTP_X_ORG_ID=OrganizationFactory().id)
    assert post(user, HTTP_X_ORG_ID=OrganizationFactory().id).status_code == 409


def test_it_tells_users_and_paths_apart():
    user = UserFactory()
    post(user)
    assert "Idempotent-Replayed" not in post(UserFactory())
    assert "Idempotent-Replayed" not in post(user, path="/others")
    assert AuditEntry.objects.filter(outcome="done").count() == 3


@pytest.mark.parametrize(("name", "status"), [("taken", 409), ("broken", 500), ("refused", 400)])
def test_it_keeps_no_failure(name, status):
    user = UserFactory()
    response = post(user, name=name)
    assert response.status_code == status
    assert not IdempotencyKey.objects.exists()
    assert post(user).status_code == 201


def before_the_first_acts(monkeypatch, do):
    """Have something done by another process, after the first has its row and before its transaction begins."""
    plain = idempotency._act

    def act(*args):
        monkeypatch.setattr(idempotency, "_act", plain)
        do()
        return plain(*args)

    monkeypatch.setattr(idempotency, "_act", act)


def test_it_says_that_the_first_still_runs(monkeypatch):
    user = UserFactory()
    seen = []
    before_the_first_acts(monkeypatch, lambda: seen.append(post(user)))
    assert post(user).status_code == 201
    assert seen[0].status_code == 409
    assert seen[0].json()["code"] == "locked"
    assert AuditEntry.objects.filter(outcome="done").count() == 1


def test_it_takes_over_from_one_that_died(time_machine):
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    user = UserFactory()
    post(user)
    IdempotencyKey.objects.update(status=None)
    time_machine.shift(timedelta(seconds=60))
    assert post(user).json()["code"] == "locked"
    time_machine.shift(timedelta(seconds=1))
    response = post(user)
    assert response.status_code == 201
    assert "Idempotent-Replayed" not in response
    assert post(user)["Idempotent-Replayed"] == "true"


def test_it_undoes_what_a_slow_one_did_when_another_has_taken_over(monkeypatch, time_machine):
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    user = UserFactory()
    answers = []

    def another():
        time_machine.shift(timedelta(seconds=61))
        answers.append(post(user))

    before_the_first_acts(monkeypatch, another)
    slow = post(user)
    assert slow.status_code == 409
    assert slow.json()["code"] == "locked"
    assert answers[0].status_code == 201
    assert AuditEntry.objects.filter(outcome="done").count() == 1
    assert post(user)["Idempotent-Replayed"] == "true"


def test_it_leaves_the_row_of_who_took_over_alone_when_it_fails(monkeypatch, time_machine):
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    user = UserFactory()
    later = idempotency.timezone.now() + timedelta(seconds=61)
    before_the_first_acts(monkeypatch, lambda: IdempotencyKey.objects.update(created_at=later))
    assert post(user, name="taken").status_code == 409
    assert IdempotencyKey.objects.get().created_at == later


def test_only_one_takes_over(time_machine):
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    row = IdempotencyKey.objects.create(key="k", body="b", created_at=idempotency.timezone.now())
    time_machine.shift(timedelta(seconds=61))
    now = idempotency.timezone.now()
    assert idempotency._take_over(row, "b", now)
    assert not idempotency._take_over(row, "b", now)


def test_it_starts_afresh_after_a_day(time_machine):
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    user = UserFactory()
    post(user)
    time_machine.shift(timedelta(hours=24))
    assert post(user)["Idempotent-Replayed"] == "true"
    time_machine.shift(timedelta(seconds=1))
    assert post(user, name="db").status_code == 201
    assert post(user, name="db")["Idempotent-Replayed"] == "true"


def test_old_keys_are_purged(time_machine):
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    post(UserFactory())
    time_machine.shift(timedelta(hours=24))
    idempotency.purge()
    assert IdempotencyKey.objects.count() == 1
    time_machine.shift(timedelta(seconds=1))
    idempotency.purge()
    assert not IdempotencyKey.objects.exists()


def test_it_keeps_no_body_and_no_key_in_clear():
    post(UserFactory(), name="a-secret-name", key="a-secret-key")
    row = IdempotencyKey.objects.get()
    assert "secret" not in row.key + row.body


@pytest.mark.urls("aiwm_site.urls")
@pytest.mark.parametrize("change", ["role", "organization"])
def test_an_answer_is_for_the_eyes_that_it_was_given_to(db, client_of, change):
    user, node = UserFactory(), NodeFactory()
    body = create_body(node)
    first = client_of(user).post("/resources", body, format="json", HTTP_IDEMPOTENCY_KEY="k")
    assert first.status_code == 201
    setattr(user, change, "viewer" if change == "role" else OrganizationFactory())
    user.save()
    second = client_of(user).post("/resources", body, format="json", HTTP_IDEMPOTENCY_KEY="k")
    assert "Idempotent-Replayed" not in second
    if change == "role":
        assert second.status_code == 403
    else:
        assert second.json()["owner"]["orgId"] == user.organization_id


def test_it_tells_the_error_and_not_that_the_key_could_not_be_released(monkeypatch):
    def fail(claim):
        raise OperationalError("the database is gone")

    monkeypatch.setattr(idempotency, "_release", fail)
    user = UserFactory()
    assert post(user, name="taken").status_code == 409
    assert IdempotencyKey.objects.get().status is None
