"""POST /auth/token"""

from datetime import timedelta

import pytest
from rest_framework.test import APIClient

from accounts.models import LoginFailure, User
from accounts.tokens import read_access
from tests.factories import OperatorFactory, UserFactory

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"


def log_in(username, password=PASSWORD, address="10.0.0.1", **body):
    return APIClient().post(
        "/auth/token", {"username": username, "password": password, **body}, format="json", REMOTE_ADDR=address
    )


def test_it_gives_a_pair():
    user = UserFactory(password=PASSWORD)
    response = log_in(user.username)
    assert response.status_code == 200
    assert set(response.json()) == {"access", "refresh"}
    assert response["Cache-Control"] == "no-store"
    claims = read_access(response.json()["access"])
    assert (claims.user_id, claims.org_id, claims.role, claims.is_operator, claims.username) == (
        user.id,
        user.organization_id,
        "member",
        False,
        user.username,
    )
    assert User.objects.get().last_login is not None


def test_it_marks_operators():
    user = OperatorFactory(password=PASSWORD)
    assert read_access(log_in(user.username).json()["access"]).is_operator


@pytest.mark.parametrize("username", ["somebody", "nobody"])
def test_it_refuses_a_wrong_password_and_an_unknown_name_alike(username):
    UserFactory(username="somebody", password=PASSWORD)
    response = log_in(username, "wrong")
    assert response.status_code == 401
    assert response.json()["code"] == "not_authenticated"
    assert response.json()["detail"] == "Wrong user name or password."
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_it_refuses_a_switched_off_user():
    user = UserFactory(password=PASSWORD, is_active=False)
    assert log_in(user.username).status_code == 401


def test_it_hashes_once_for_an_unknown_name_too(monkeypatch):
    from django.contrib.auth.hashers import MD5PasswordHasher

    hashed = []
    plain = MD5PasswordHasher.encode
    monkeypatch.setattr(MD5PasswordHasher, "encode", lambda *a, **k: hashed.append(1) or plain(*a, **k))
    user = UserFactory(password=PASSWORD)
    hashed.clear()
    log_in(user.username, "wrong")
    known = len(hashed)
    hashed.clear()
    log_in("nobody", "wrong")
    assert len(hashed) == known == 1


def test_it_names_every_fault_of_the_body():
    response = APIClient().post("/auth/token", {"username": 5, "remember": True}, format="json")
    assert response.status_code == 400
    assert {(e["field"], e["code"]) for e in response.json()["errors"]} == {
        ("username", "type"),
        ("password", "required"),
        ("remember", "unknown_field"),
    }


def test_it_works_with_an_expired_access_token_sent_along():
    user = UserFactory(password=PASSWORD)
    response = APIClient().post(
        "/auth/token",
        {"username": user.username, "password": PASSWORD},
        format="json",
        HTTP_AUTHORIZATION="Bearer of.bad.news",
    )
    assert response.status_code == 200


def test_it_is_limited_by_address(settings):
    settings.TOKEN_RATE = 2
    user = UserFactory(password=PASSWORD)
    assert [log_in(user.username).status_code for _ in range(3)] == [200, 200, 429]
    assert log_in(user.username, address="10.0.0.2").status_code == 200


def test_it_locks_out_after_failures_and_opens_again(settings, time_machine):
    settings.LOGIN_FAILURES, settings.LOGIN_LOCK_SECONDS = 3, 300
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    user = UserFactory(password=PASSWORD)
    assert [log_in(user.username, "wrong").status_code for _ in range(3)] == [401, 401, 401]
    response = log_in(user.username)
    assert response.status_code == 429
    assert response.json()["code"] == "throttled"
    assert response["Retry-After"] == "300"
    time_machine.shift(timedelta(seconds=299))
    assert log_in(user.username)["Retry-After"] == "1"
    time_machine.shift(timedelta(seconds=1))
    assert log_in(user.username, "wrong").status_code == 401
    assert log_in(user.username).status_code == 200
    assert not LoginFailure.objects.exists()


def test_it_locks_out_that_address_alone(settings):
    settings.LOGIN_FAILURES = 1
    user = UserFactory(password=PASSWORD)
    log_in(user.username, "wrong", address="10.0.0.1")
    assert log_in(user.username, address="10.0.0.1").status_code == 429
    assert log_in(user.username, address="10.0.0.2").status_code == 200


def test_it_locks_out_that_name_alone(settings):
    settings.LOGIN_FAILURES = 1
    user = UserFactory(password=PASSWORD)
    log_in("another", "wrong")
    assert log_in(user.username).status_code == 200


def test_it_locks_out_a_whole_ipv6_network(settings):
    settings.LOGIN_FAILURES = 2
    user = UserFactory(password=PASSWORD)
    log_in(user.username, "wrong", address="2001:db8::1")
    log_in(user.username, "wrong", address="2001:db8::ffff")
    assert log_in(user.username, address="2001:db8::2").status_code == 429
    assert log_in(user.username, address="2001:db8:0:1::1").status_code == 200


def test_it_locks_out_unknown_names_too(settings):
    settings.LOGIN_FAILURES = 1
    log_in("nobody", "wrong")
    assert log_in("nobody", "wrong").status_code == 429


def test_it_forgets_failures_that_lie_far_apart(settings, time_machine):
    settings.LOGIN_FAILURES, settings.LOGIN_LOCK_SECONDS = 2, 300
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    user = UserFactory(password=PASSWORD)
    log_in(user.username, "wrong")
    time_machine.shift(timedelta(seconds=301))
    log_in(user.username, "wrong")
    assert log_in(user.username).status_code == 200


def test_it_refuses_a_right_guess_that_ends_after_the_lock(settings, monkeypatch):
    """Many guesses at once: the lock falls while this one's password is being looked at."""
    from accounts import guard

    settings.LOGIN_FAILURES = 2
    user = UserFactory(password=PASSWORD)
    plain = User.check_password

    def slow(self, raw):
        guard.failed(user.username, "10.0.0.1")
        guard.failed(user.username, "10.0.0.1")
        return plain(self, raw)

    monkeypatch.setattr(User, "check_password", slow)
    assert log_in(user.username).status_code == 429


def test_it_locks_again_where_a_late_failure_came_in_during_the_lock(settings, time_machine):
    from accounts import guard

    settings.LOGIN_FAILURES, settings.LOGIN_LOCK_SECONDS = 2, 300
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    user = UserFactory(password=PASSWORD)
    log_in(user.username, "wrong")
    log_in(user.username, "wrong")
    time_machine.shift(timedelta(seconds=10))
    guard.failed(user.username, "10.0.0.1")  # was being looked at when the lock fell
    time_machine.shift(timedelta(seconds=291))
    assert log_in(user.username, "wrong").status_code == 401
    assert log_in(user.username, "wrong").status_code == 401
    assert log_in(user.username).status_code == 429
