"""GET /organization/users"""

import pytest
from rest_framework.test import APIClient

from tests.factories import OperatorFactory, OrganizationFactory, UserFactory

pytestmark = pytest.mark.django_db


def test_it_lists_the_members_by_name(client_of):
    org = OrganizationFactory()
    admin = UserFactory(organization=org, role="admin", username="b")
    UserFactory(organization=org, role="viewer", username="a", is_active=False)
    UserFactory(username="elsewhere")
    response = client_of(admin).get("/organization/users")
    assert response.status_code == 200
    assert [(user["username"], user["role"], user["isActive"]) for user in response.json()["data"]] == [
        ("a", "viewer", False),
        ("b", "admin", True),
    ]
    assert response.json()["pagination"] == {"total": 2, "page": 1, "limit": 20, "totalPages": 1}
    assert set(response.json()["data"][0]) == {
        "userId", "username", "email", "role", "isOperator", "isActive", "lastLogin", "createdAt",
    }  # fmt: skip


@pytest.mark.parametrize("role", ["viewer", "member"])
def test_it_is_for_admins(client_of, role):
    response = client_of(UserFactory(role=role)).get("/organization/users")
    assert response.status_code == 403
    assert response.json()["code"] == "forbidden"


def test_it_shows_operators_any(client_of):
    user = UserFactory()
    response = client_of(OperatorFactory(role="viewer")).get("/organization/users", HTTP_X_ORG_ID=user.organization_id)
    assert [found["userId"] for found in response.json()["data"]] == [user.id]


def test_it_shows_admins_no_other(client_of):
    other = UserFactory()
    response = client_of(UserFactory(role="admin")).get("/organization/users", HTTP_X_ORG_ID=other.organization_id)
    assert response.status_code == 404


def test_it_is_paged(client_of):
    org = OrganizationFactory()
    admin = UserFactory(organization=org, role="admin", username="u0")
    for n in range(1, 5):
        UserFactory(organization=org, username=f"u{n}")
    client = client_of(admin)
    response = client.get("/organization/users", {"page": 2, "limit": 2})
    assert [user["username"] for user in response.json()["data"]] == ["u2", "u3"]
    assert response.json()["pagination"] == {"total": 5, "page": 2, "limit": 2, "totalPages": 3}
    assert client.get("/organization/users", {"page": 9}).json()["data"] == []


@pytest.mark.parametrize("query", [{"page": "0"}, {"limit": "101"}, {"limit": "x"}, {"sort": "name"}])
def test_it_refuses_wrong_parameters(client_of, query):
    response = client_of(UserFactory(role="admin")).get("/organization/users", query)
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == list(query)


def test_it_needs_a_token():
    assert APIClient().get("/organization/users").status_code == 401
