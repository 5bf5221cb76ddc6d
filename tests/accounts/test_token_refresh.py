"""POST /auth/token/refresh"""

from datetime import timedelta

import pytest
from rest_framework.test import APIClient

from accounts import actions, tokens
from accounts.actors import Actor
from accounts.models import UsedRefresh, User
from common.errors import TokenNotValid
from tests.factories import OperatorFactory, OrganizationFactory, UserFactory

pytestmark = pytest.mark.django_db


def rotate(token):
    return APIClient().post("/auth/token/refresh", {"refresh": token}, format="json")


def operator():
    return Actor.of(OperatorFactory(), via="admin")


def test_it_gives_a_new_pair_and_uses_up_the_old_token():
    first = tokens.issue(UserFactory())
    response = rotate(first.refresh)
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    second = response.json()["refresh"]
    assert second != first.refresh
    again = rotate(first.refresh)
    assert again.status_code == 401
    assert again.json()["code"] == "token_not_valid"
    assert rotate(second).status_code == 200  # nothing else is revoked by the replay


def test_it_lets_one_of_two_tabs_win(monkeypatch):
    """Both have read the user and found the token unused; the other inserts first."""
    pair = tokens.issue(UserFactory())
    plain = tokens._use_up
    winners = []

    def interleaved(claims):
        monkeypatch.setattr(tokens, "_use_up", plain)
        winners.append(tokens.refresh(pair.refresh))
        plain(claims)

    monkeypatch.setattr(tokens, "_use_up", interleaved)
    with pytest.raises(TokenNotValid):
        tokens.refresh(pair.refresh)
    assert UsedRefresh.objects.count() == 1
    assert rotate(winners[0].refresh).status_code == 200


def test_it_takes_on_a_new_role_and_organization():
    user = UserFactory()
    pair = tokens.issue(user)
    org = OrganizationFactory()
    User.objects.update(role="viewer", organization=org)
    claims = tokens.read_access(rotate(pair.refresh).json()["access"])
    assert (claims.role, claims.org_id) == ("viewer", org.id)


def test_it_ends_with_a_change_of_password():
    user = UserFactory(password="first password")
    pair = tokens.issue(User.objects.get(pk=user.pk))
    actions.set_password(operator(), user.id, "second password")
    assert rotate(pair.refresh).status_code == 401


def test_it_ends_with_the_users_switching_off_for_good():
    user = UserFactory()
    pair = tokens.issue(user)
    by = operator()
    actions.switch_off(by, user.id)
    assert rotate(pair.refresh).status_code == 401
    actions.switch_on(by, user.id)
    assert rotate(pair.refresh).status_code == 401
    assert not UsedRefresh.objects.exists()


def test_it_ends_after_seven_days(time_machine):
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    pair = tokens.issue(UserFactory())
    time_machine.shift(timedelta(days=7, seconds=-1))
    again = rotate(pair.refresh)
    assert again.status_code == 200
    time_machine.shift(timedelta(days=7))
    assert rotate(again.json()["refresh"]).status_code == 401


@pytest.mark.parametrize("kind", ["access", "garbage", "deleted user"])
def test_it_refuses_what_is_no_refresh_token_of_a_user(kind):
    user = UserFactory()
    pair = tokens.issue(user)
    token = {"access": pair.access, "garbage": "a.b.c", "deleted user": pair.refresh}[kind]
    if kind == "deleted user":
        user.delete()
    response = rotate(token)
    assert response.status_code == 401
    assert response.json()["code"] == "token_not_valid"


def test_it_refuses_a_token_signed_with_another_key(settings):
    import jwt

    payload = jwt.decode(tokens.issue(UserFactory()).refresh, options={"verify_signature": False})
    assert rotate(jwt.encode(payload, "another key that is long enough 0000", algorithm="HS256")).status_code == 401
    assert rotate(jwt.encode(payload, None, algorithm="none")).status_code == 401


@pytest.mark.parametrize("body", [{}, {"refresh": 1}, {"refresh": ""}, {"refresh": "a", "more": 1}])
def test_it_refuses_a_wrong_body(body):
    response = APIClient().post("/auth/token/refresh", body, format="json")
    assert response.status_code == 400
    assert response.json()["code"] == "validation"


def test_used_ids_are_purged_when_they_expire(time_machine):
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    tokens.refresh(tokens.issue(UserFactory()).refresh)
    time_machine.shift(timedelta(days=7))
    tokens.purge()
    assert UsedRefresh.objects.count() == 1  # other machines' clocks may be behind
    time_machine.shift(timedelta(hours=1, seconds=1))
    tokens.purge()
    assert not UsedRefresh.objects.exists()


def test_only_refresh_tokens_carry_the_fingerprint():
    import jwt

    pair = tokens.issue(UserFactory(password="first password"))
    access = jwt.decode(pair.access, options={"verify_signature": False})
    assert {"userId", "orgId", "role", "isOperator", "username"} < set(access)
    assert "fingerprint" not in access
