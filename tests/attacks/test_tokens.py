"""Tokens that are forged, stale or of the wrong kind: 401 on every path, and nothing changes."""

import base64
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import actions, tokens
from accounts.actors import SYSTEM
from accounts.models import Role, User
from resources.models import VirtualMachine
from tests.attacks.database import dump
from tests.attacks.tenant_table import rows
from tests.attacks.world import World, build
from tests.factories import NodeFactory, OperatorFactory, OrganizationFactory, UserFactory, create_body

pytestmark = pytest.mark.django_db

ROWS = [row for row in rows() if row.expected["anonymous", "own"] == 401]


def bearing(header: str) -> APIClient:
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=header)
    return client


def payload_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def part(data: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()


def with_payload(token: str, **changes: Any) -> str:
    """Another payload below the signature that there is."""
    head, _, signature = token.split(".")
    return f"{head}.{part({**payload_of(token), **changes})}.{signature}"


def signed(token: str, key: str | None = None, algorithm: str = "HS256", **changes: Any) -> str:
    claims = {**payload_of(token), **changes}
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, key, algorithm)


FORGED = {
    "another key": lambda user, token: signed(token, "x" * 64),
    "a key of zeros": lambda user, token: signed(token, "\0" * 64, isOperator=True),
    "no algorithm": lambda user, token: signed(token, None, "none", isOperator=True),
    "no algorithm and no signature": lambda user, token: (
        f"{part({'alg': 'none', 'typ': 'JWT'})}.{part({**payload_of(token), 'isOperator': True})}."
    ),
    "NONE with the old signature": lambda user, token: f"{part({'alg': 'NONE'})}.{'.'.join(token.split('.')[1:])}",
    "another algorithm": lambda user, token: signed(token, settings.SECRET_KEY, "HS512"),
    "an operator's flag written in": lambda user, token: with_payload(token, isOperator=True),
    "another organization written in": lambda user, token: with_payload(token, orgId="f" * 24),
    "another user written in": lambda user, token: with_payload(token, userId="f" * 24),
    "a later end written in": lambda user, token: with_payload(token, exp=4_000_000_000),
    "a signature cut short": lambda user, token: token[:-4],
    "no signature": lambda user, token: token.rpartition(".")[0] + ".",
    "two tokens in one": lambda user, token: f"{token}.{token}",
    "a refresh token": lambda user, token: tokens.issue(user).refresh,
    "no kind": lambda user, token: signed(token, settings.SECRET_KEY, token_type=None),
    "no end": lambda user, token: signed(token, settings.SECRET_KEY, exp=None),
    "no id": lambda user, token: signed(token, settings.SECRET_KEY, jti=None),
    "no user": lambda user, token: signed(token, settings.SECRET_KEY, userId=None),
    "no organization": lambda user, token: signed(token, settings.SECRET_KEY, orgId=None),
    "a user that is no id": lambda user, token: signed(token, settings.SECRET_KEY, userId={"$ne": None}),
    "an end long past": lambda user, token: signed(token, settings.SECRET_KEY, exp=1_000_000_000),
    "garbage": lambda user, token: "garbage",
    "dots": lambda user, token: "..",
    "Unicode": lambda user, token: "é.ü.ö",
    "NUL": lambda user, token: f"{token}\x00",
    "a line end": lambda user, token: f"{token}\r\nX-Org-Id: {'f' * 24}",
    "10 kB": lambda user, token: "A" * 10_000,
}


@pytest.mark.parametrize("forgery", FORGED)
def test_it_refuses_a_forged_token_and_changes_nothing(forgery):
    user, node = UserFactory(role=Role.ADMIN), NodeFactory()
    token = FORGED[forgery](user, tokens.issue(user).access)
    before = dump()

    for path in ("/auth/me", "/resources", "/resources/nodes"):
        answer = bearing(f"Bearer {token}").get(path)
        assert answer.status_code == 401, answer.content
        assert answer["WWW-Authenticate"].startswith("Bearer")
        assert token[:30] not in answer.content.decode()
    answer = bearing(f"Bearer {token}").post("/resources", create_body(node), format="json")
    assert answer.status_code == 401
    assert dump() == before


def test_a_token_made_the_same_way_with_nothing_wrong_in_it_is_taken():
    user = UserFactory()
    token = signed(tokens.issue(user).access, settings.SECRET_KEY)

    assert bearing(f"Bearer {token}").get("/auth/me").status_code == 200


@pytest.mark.parametrize(
    "forgery", ["another key", "no algorithm", "an operator's flag written in", "a refresh token", "an end long past"]
)
def test_each_route_that_needs_a_token_refuses_a_forged_one(forgery):
    world = build()
    user = world.users["operator"]
    client = bearing(f"Bearer {FORGED[forgery](user, tokens.issue(user).access)}")
    before = dump()
    for row in ROWS:
        request = world.request(row, "operator", "own")
        answer = client.generic(
            row.method, request["path"], json.dumps(request["data"] or {}), "application/json",
            headers=request["headers"],
        )  # fmt: skip
        assert (answer.status_code, answer.json()["code"]) == (401, "token_not_valid"), str(row)
    assert dump() == before


@pytest.mark.parametrize("kind", ["another key", "no algorithm", "an end long past", "garbage", "two tokens in one"])
@pytest.mark.parametrize("path", ["/auth/token/refresh", "/auth/token/revoke"])
def test_a_forged_refresh_token_is_refused_and_uses_nothing_up(kind, path):
    user = UserFactory()
    token = FORGED[kind](user, tokens.issue(user).refresh)
    before = dump()

    answer = APIClient().post(path, {"refresh": token}, format="json")

    expired_is_dead_already = path.endswith("revoke") and kind == "an end long past"
    assert answer.status_code == (204 if expired_is_dead_already else 401)
    assert dump() == before


def test_an_operator_who_is_switched_off_or_demoted_writes_nothing():
    world = build()
    client, path = world.client("operator"), f"/resources/{world.objects['other']['off']}"
    operator = world.users["operator"]

    before = dump()
    User.objects.filter(pk=operator.pk).update(is_staff=False)
    assert client.patch(path, {"name": "mine"}, format="json").status_code == 404, "one tenant of many now"
    assert client.patch(f"/resources/nodes/{world.node.id}", {"enabled": False}, format="json").status_code == 403
    User.objects.filter(pk=operator.pk).update(is_staff=True, is_active=False)
    assert client.patch(path, {"name": "mine"}, format="json").status_code == 401
    User.objects.filter(pk=operator.pk).update(is_active=True)
    assert dump() == before
    assert client.patch(path, {"name": "mine"}, format="json").status_code == 200


def test_a_used_refresh_token_stays_used_whoever_comes_with_it():
    pair = tokens.issue(UserFactory())
    first = APIClient().post("/auth/token/refresh", {"refresh": pair.refresh}, format="json")
    assert first.status_code == 200
    before = dump()
    for _ in range(2):
        replayed = APIClient().post("/auth/token/refresh", {"refresh": pair.refresh}, format="json")
        assert (replayed.status_code, replayed.json()["code"]) == (401, "token_not_valid")
    assert dump() == before
    assert (
        APIClient().post("/auth/token/refresh", {"refresh": first.json()["refresh"]}, format="json").status_code == 200
    )


def move_the_member(world: World) -> None:
    user = world.users["member"]
    actions.change_user(SYSTEM, user.id, {"organization_id": world.objects["other"]["org"]})
    user.refresh_from_db()


def test_who_moved_to_another_organization_is_of_one_at_a_time():
    """A token is believed until it ends: it shows the old organization alone, and the next the new one alone."""
    world = build()
    own, other = world.objects["own"], world.objects["other"]
    old = world.client("member")
    move_the_member(world)
    new = world.client("member")

    for client, seen, unseen in ((old, own, other), (new, other, own)):
        assert client.get(f"/resources/{seen['on']}").status_code == 200
        assert client.get(f"/resources/{unseen['on']}").status_code == 404
    created = old.post("/resources", create_body(world.node), format="json", HTTP_X_ORG_ID=other["org"])
    assert created.status_code == 404
    created = new.post("/resources", create_body(world.node), format="json").json()
    assert created["owner"]["orgId"] == other["org"]


def test_a_stale_token_ends_after_fifteen_minutes(time_machine):
    world = build()
    old = world.client("member")
    move_the_member(world)

    time_machine.move_to(timezone.now() + timedelta(minutes=15, seconds=1), tick=False)

    before = dump()
    assert old.get(f"/resources/{world.objects['own']['on']}").status_code == 401
    assert old.post("/resources", create_body(world.node), format="json").status_code == 401
    assert dump() == before


def test_an_idempotency_key_is_of_its_user_alone(client_of):
    """Another user's key gives no look at another organization's answer."""
    node = NodeFactory()
    first, second = UserFactory(), UserFactory()

    answers = [
        client_of(user).post("/resources", create_body(node), format="json", headers={"Idempotency-Key": "the-same"})
        for user in (first, second)
    ]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert [answer.json()["owner"]["orgId"] for answer in answers] == [first.organization_id, second.organization_id]
    assert VirtualMachine.objects.count() == 2


def test_the_header_of_a_member_names_no_other_organization_in_any_spelling(client_of):
    other = OrganizationFactory()
    user = UserFactory(role=Role.ADMIN)
    for value in (other.id, f" {other.id} ", other.id.upper(), f"{user.organization_id},{other.id}", other.name, "*"):
        answer = client_of(user).get("/organization/users", headers={"X-Org-Id": value})
        assert answer.status_code == 404, value
    assert client_of(OperatorFactory()).get("/organization", headers={"X-Org-Id": other.id}).json()["_id"] == other.id
