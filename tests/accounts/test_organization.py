"""GET /organization"""

import pytest
from rest_framework.test import APIClient

from common.times import isoformat
from tests.factories import OperatorFactory, OrganizationFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("role", ["viewer", "member", "admin"])
def test_it_shows_my_organization(client_of, role):
    org = OrganizationFactory(quota_gpus=2, used_gpus=1)
    response = client_of(UserFactory(organization=org, role=role)).get("/organization")
    assert response.status_code == 200
    document = response.json()
    assert (document["_id"], document["name"], document["createdAt"]) == (org.id, org.name, isoformat(org.created_at))
    assert (document["quota"]["gpus"], document["usage"]["gpus"]) == (2, 1)


def test_it_shows_an_operator_another(client_of):
    org = OrganizationFactory()
    response = client_of(OperatorFactory()).get("/organization", HTTP_X_ORG_ID=org.id)
    assert response.json()["_id"] == org.id


@pytest.mark.parametrize("named", ["0" * 24, "nonsense", "A" * 24])
def test_it_refuses_an_operator_an_unknown_one(client_of, named):
    response = client_of(OperatorFactory()).get("/organization", HTTP_X_ORG_ID=named)
    assert response.status_code == 404
    assert response.json()["detail"] == "There is no such organization."


def test_it_refuses_others_another_as_if_it_did_not_exist(client_of):
    client = client_of(UserFactory(role="admin"))
    there = client.get("/organization", HTTP_X_ORG_ID=OrganizationFactory().id)
    not_there = client.get("/organization", HTTP_X_ORG_ID="0" * 24)
    assert there.status_code == not_there.status_code == 404
    assert there.json()["detail"] == not_there.json()["detail"]


def test_it_takes_ones_own_by_name(client_of):
    user = UserFactory()
    assert client_of(user).get("/organization", HTTP_X_ORG_ID=user.organization_id).status_code == 200


def test_it_needs_a_token():
    assert APIClient().get("/organization").status_code == 401
