"""GET /auth/me"""

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from tests.factories import OperatorFactory, OrganizationFactory, UserFactory

pytestmark = pytest.mark.django_db


def test_it_tells_who_i_am(client_of):
    org = OrganizationFactory(name="research", used_vms=3, used_ram_mb=4096)
    user = UserFactory(organization=org, role="viewer", email="ada@example.com")
    response = client_of(user).get("/auth/me")
    assert response.status_code == 200
    assert response.json() == {
        "userId": user.id,
        "username": user.username,
        "email": "ada@example.com",
        "orgId": org.id,
        "orgName": "research",
        "role": "viewer",
        "isOperator": False,
        "quota": {
            "vms": 200, "vcpus": 512, "ramMB": 2_097_152, "diskGB": 20_480, "gpus": 8, "migInstances": 64,
        },
        "usage": {"vms": 3, "vcpus": 0, "ramMB": 4096, "diskGB": 0, "gpus": 0, "migInstances": 0},
    }  # fmt: skip


def test_it_tells_an_operator(client_of):
    assert client_of(OperatorFactory()).get("/auth/me").json()["isOperator"] is True


def test_it_needs_a_token():
    response = APIClient().get("/auth/me")
    assert response.status_code == 401
    assert response.json()["code"] == "not_authenticated"
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_it_refuses_a_user_who_is_switched_off(client_of):
    client = client_of(UserFactory())
    User.objects.update(is_active=False)
    response = client.get("/auth/me")
    assert response.status_code == 401
    assert response.json()["code"] == "token_not_valid"


def test_it_takes_one_query(client_of, django_assert_num_queries):
    client = client_of(UserFactory())
    with django_assert_num_queries(1):
        client.get("/auth/me")


def test_it_takes_no_other_method(client_of):
    assert client_of(UserFactory()).post("/auth/me", {}, format="json").status_code == 405
