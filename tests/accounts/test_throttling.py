"""API_RATE and TOKEN_RATE."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from accounts import throttling
from accounts.models import AuditEntry, LoginMinute
from common import counters
from tests.factories import OperatorFactory, UserFactory

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _noon(time_machine):
    time_machine.move_to("2026-01-01T12:00:00Z", tick=False)


def log_in(address="10.0.0.1", **extra):
    body = {"username": "nobody", "password": "wrong"}
    return APIClient().post("/auth/token", body, format="json", REMOTE_ADDR=address, **extra)


# Requests


@pytest.mark.django_db
def test_a_user_has_so_many_requests_a_minute(client_of, settings, time_machine):
    settings.API_RATE = 3
    user, other = UserFactory(), UserFactory()
    client = client_of(user)
    assert [client.get("/resources").status_code for _ in range(4)] == [200, 200, 200, 429]
    assert client_of(other).get("/resources").status_code == 200
    time_machine.shift(20)
    answer = client.get("/resources")
    assert (answer.status_code, answer["Retry-After"], answer.json()["code"]) == (429, "40", "throttled")
    time_machine.shift(40)
    assert client.get("/resources").status_code == 200


@pytest.mark.django_db
def test_it_costs_no_query(client_of, settings, django_assert_num_queries):
    settings.API_RATE = 100
    client = client_of(UserFactory())
    with django_assert_num_queries(2):  # those of the list
        client.get("/resources")


@pytest.mark.django_db
def test_who_is_over_it_is_kept_once_a_minute(client_of, settings):
    settings.API_RATE = 1
    user = UserFactory()
    for _ in range(5):
        client_of(user).get("/resources")
    entry = AuditEntry.objects.get()
    assert (entry.actor_id, entry.code, entry.count) == (user.id, "throttled", 1)


# Log-ins


@pytest.mark.django_db
def test_an_address_has_so_many_log_ins_a_minute(settings, time_machine):
    settings.TOKEN_RATE, settings.LOGIN_FAILURES = 2, 100
    assert [log_in().status_code for _ in range(3)] == [401, 401, 429]
    assert log_in("10.0.0.2").status_code == 401
    time_machine.shift(timedelta(seconds=60))
    assert log_in().status_code == 401


@pytest.mark.django_db
def test_another_server_knows_of_them(settings):
    settings.TOKEN_RATE, settings.LOGIN_FAILURES = 2, 100
    assert [log_in().status_code, log_in().status_code] == [401, 401]
    counters.clear()  # as those of another server, which share the database alone
    assert log_in().status_code == 429


@pytest.mark.django_db
def test_a_flood_costs_no_query(settings, django_assert_num_queries):
    settings.TOKEN_RATE, settings.LOGIN_FAILURES = 2, 100
    for _ in range(4):
        log_in()
    with django_assert_num_queries(0):
        assert log_in().status_code == 429


@pytest.mark.django_db
def test_the_admins_log_ins_count_too(settings):
    settings.TOKEN_RATE, settings.LOGIN_FAILURES = 2, 100
    OperatorFactory(username="root", password=PASSWORD)
    log_in("127.0.0.1")
    log_in("127.0.0.1")
    client = Client()
    answer = client.post(reverse("admin:login"), {"username": "root", "password": PASSWORD})
    assert "Too many requests: 2 a minute are allowed." in answer.content.decode()
    assert client.get(reverse("admin:index")).status_code == 302
    assert AuditEntry.objects.filter(via="admin", code="throttled").count() == 1


@pytest.mark.django_db
def test_minutes_that_are_over_are_forgotten(time_machine, settings):
    settings.TOKEN_RATE = 5
    log_in()
    throttling.purge()
    assert LoginMinute.objects.exists()
    time_machine.shift(timedelta(hours=1, seconds=1))
    throttling.purge()
    assert not LoginMinute.objects.exists()


# Ways around


@pytest.mark.django_db
def test_a_made_up_address_in_a_header_changes_nothing(settings):
    settings.TOKEN_RATE, settings.LOGIN_FAILURES = 2, 100
    for number in range(2):
        log_in(HTTP_X_FORWARDED_FOR=f"203.0.113.{number}", HTTP_X_REAL_IP=f"203.0.113.{number}")
    assert log_in(HTTP_X_FORWARDED_FOR="203.0.113.9", HTTP_FORWARDED="for=203.0.113.9").status_code == 429


@pytest.mark.django_db
def test_nor_does_what_a_client_puts_before_a_proxys(settings):
    settings.TOKEN_RATE, settings.LOGIN_FAILURES, settings.TRUSTED_PROXIES = 2, 100, 1
    for number in range(2):
        log_in(HTTP_X_FORWARDED_FOR=f"203.0.113.{number}, 198.51.100.7")
    assert log_in(HTTP_X_FORWARDED_FOR="203.0.113.9, 198.51.100.7").status_code == 429
    assert log_in(HTTP_X_FORWARDED_FOR="203.0.113.9, 198.51.100.8").status_code == 401


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["10.0.0.1", "::ffff:10.0.0.1", "::ffff:0a00:0001"])
def test_nor_does_another_spelling_of_the_address(settings, address):
    settings.TOKEN_RATE, settings.LOGIN_FAILURES = 1, 100
    log_in("10.0.0.1")
    assert log_in(address).status_code == 429


def guess(username, password="wrong"):
    return APIClient().post("/auth/token", {"username": username, "password": password}, format="json").status_code


@pytest.mark.django_db
@pytest.mark.parametrize("variant", ["ａda", "ada\u200b", "Ada", "ADA", " ada", "ada ", "ada\u0301", "aｄa"])
def test_no_spelling_of_a_name_gets_more_guesses_at_it(settings, variant):
    """Another spelling either counts as the same name, or is nobody's and lets nobody in."""
    settings.LOGIN_FAILURES = 2
    UserFactory(username="ada", password=PASSWORD)
    assert guess(variant, PASSWORD) in (401, 429)
    assert [guess("ada"), guess("ada")][-1] in (401, 429)
    assert guess("ada", PASSWORD) == 429
    assert guess(variant, PASSWORD) in (401, 429)


@pytest.mark.django_db
def test_guesses_that_end_after_the_lock_look_alike_right_or_wrong(settings, monkeypatch):
    """Or of many at once the one that differs would be the password."""
    from accounts import guard
    from accounts.models import User

    settings.LOGIN_FAILURES = 2
    user = UserFactory(username="ada", password=PASSWORD)
    plain = User.check_password

    def slow(self, raw):
        for _ in range(2):  # others were faster
            guard.failed(user.username, "127.0.0.1")
        return plain(self, raw)

    monkeypatch.setattr(User, "check_password", slow)
    statuses = set()
    for password in (PASSWORD, "wrong"):
        guard.LoginFailure.objects.all().delete()
        statuses.add(guess("ada", password))
    assert statuses == {429}
