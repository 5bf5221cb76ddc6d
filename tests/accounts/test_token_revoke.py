"""POST /auth/token/revoke"""

from datetime import timedelta

import pytest
from rest_framework.test import APIClient

from accounts import tokens
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


def post(path, token):
    return APIClient().post(f"/auth/token/{path}", {"refresh": token}, format="json")


def test_it_ends_that_token_and_no_other():
    user = UserFactory()
    one, other = tokens.issue(user), tokens.issue(user)
    response = post("revoke", one.refresh)
    assert response.status_code == 204
    assert response.content == b""
    assert post("refresh", one.refresh).status_code == 401
    assert post("refresh", other.refresh).status_code == 200


def test_it_may_be_repeated():
    pair = tokens.issue(UserFactory())
    assert [post("revoke", pair.refresh).status_code for _ in range(2)] == [204, 204]


def test_it_takes_an_expired_one(time_machine):
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    pair = tokens.issue(UserFactory())
    time_machine.shift(timedelta(days=8))
    assert post("revoke", pair.refresh).status_code == 204


def test_it_refuses_an_access_token():
    response = post("revoke", tokens.issue(UserFactory()).access)
    assert response.status_code == 401
    assert response.json()["code"] == "token_not_valid"


def test_it_refuses_a_wrong_body():
    assert APIClient().post("/auth/token/revoke", {"token": "x"}, format="json").status_code == 400
