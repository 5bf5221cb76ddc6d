"""What an access token is good for."""

from datetime import timedelta

import pytest
from rest_framework.test import APIClient

from accounts import tokens
from accounts.models import User
from tests.factories import OperatorFactory, UserFactory

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.accounts.urls")]


def test_it_reads_without_the_database(client_of, django_assert_num_queries):
    for user in (UserFactory(), OperatorFactory()):
        client = client_of(user)
        with django_assert_num_queries(0):
            response = client.get("/things")
        assert response.json()["username"] == user.username


def test_it_ends_after_fifteen_minutes(client_of, time_machine):
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    client = client_of(UserFactory())
    time_machine.shift(timedelta(minutes=15, seconds=-1))
    assert client.get("/things").status_code == 200
    time_machine.shift(timedelta(seconds=1))
    response = client.get("/things")
    assert response.status_code == 401
    assert response.json()["code"] == "token_not_valid"


def test_it_verifies_a_token_once(client_of, monkeypatch):
    client = client_of(UserFactory())
    assert client.get("/things").status_code == 200

    monkeypatch.delattr(tokens, "AccessToken")

    assert client.get("/things").status_code == 200


def test_it_believes_no_token_that_is_like_a_good_one():
    good = tokens.issue(UserFactory()).access
    other = tokens.issue(OperatorFactory()).access
    assert APIClient().get("/things", HTTP_AUTHORIZATION=f"Bearer {good}").status_code == 200

    forged = ".".join((other.rsplit(".", 1)[0], good.rsplit(".", 1)[1]))

    assert APIClient().get("/things", HTTP_AUTHORIZATION=f"Bearer {forged}").status_code == 401


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "not_authenticated"),
        ("", "not_authenticated"),
        ("Basic YTpi", "not_authenticated"),
        ("Bearer", "not_authenticated"),
        ("Bearer ", "not_authenticated"),
        ("Bearer a b", "not_authenticated"),
        ("Bearer abc", "token_not_valid"),
        ("Bearer a.b.c", "token_not_valid"),
        ("Bearer \u00e9.\u00e9.\u00e9", "token_not_valid"),
    ],
)
def test_it_refuses_other_headers(header, code):
    extra = {} if header is None else {"HTTP_AUTHORIZATION": header}
    response = APIClient().get("/things", **extra)
    assert response.status_code == 401
    assert response.json()["code"] == code
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_it_refuses_a_refresh_token():
    pair = tokens.issue(UserFactory())
    response = APIClient().get("/things", HTTP_AUTHORIZATION=f"Bearer {pair.refresh}")
    assert response.json()["code"] == "token_not_valid"


def test_it_takes_the_scheme_in_any_case():
    pair = tokens.issue(UserFactory())
    assert APIClient().get("/things", HTTP_AUTHORIZATION=f"bearer {pair.access}").status_code == 200


def test_it_reads_an_operator_again_before_a_write(client_of, django_assert_num_queries):
    client = client_of(OperatorFactory())
    assert client.post("/things", {"name": "a"}, format="json").json()["isOperator"] is True
    User.objects.update(is_staff=False, role="viewer")
    assert client.post("/things", {"name": "b"}, format="json").json()["isOperator"] is False
    User.objects.update(is_active=False)
    response = client.post("/things", {"name": "c"}, format="json")
    assert response.status_code == 401
    assert response.json()["code"] == "token_not_valid"


def test_it_tells_where_the_request_came_from(client_of, settings):
    client = client_of(UserFactory())
    settings.TRUSTED_PROXIES = 1
    response = client.post(
        "/things",
        {"name": "a"},
        format="json",
        HTTP_X_FORWARDED_FOR="6.6.6.6, 203.0.113.9",
        HTTP_X_REQUEST_ID="request-0001",
    )
    assert response.json()["address"] == "203.0.113.9"
    assert response.json()["request"] == "request-0001"


def test_it_is_limited_by_user(client_of, settings):
    settings.API_RATE = 2
    one, other = client_of(UserFactory()), client_of(UserFactory())
    responses = [one.get("/things") for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert 1 <= int(responses[2]["Retry-After"]) <= 60
    assert other.get("/things").status_code == 200
