"""The first page of the admin, its sidebar, and what all of its pages share."""

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from tests.factories import NodeFactory, OperatorFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(client):
    client.force_login(OperatorFactory())
    return client


def shown(client):
    groups = client.get(reverse("admin:index")).context["app_list"]
    return {group["name"]: [model["name"] for model in group["models"]] for group in groups}


def test_it_has_first_what_operators_look_for_and_machinery_last(admin):
    groups = shown(admin)

    assert list(groups) == ["Virtual machines", "Infrastructure", "Accounts", "Machinery"]
    assert groups["Virtual machines"][0] == "VMs"
    assert groups["Infrastructure"][:3] == ["Nodes", "GPUs", "Networks"]
    assert groups["Accounts"][:3] == ["Organizations", "Users", "Audit"]
    assert set(groups["Machinery"]) == {
        "Idempotency keys", "Used refreshes", "Beats", "Claims", "Stray addresses", "Metrics hours", "Console tokens",
    }  # fmt: skip


def test_it_has_no_group_of_what_the_user_may_not_view(client):
    user = UserFactory(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_node"))
    client.force_login(user)

    assert shown(client) == {"Infrastructure": ["Nodes"]}


def test_times_are_shown_to_the_second_with_their_zone(admin):
    node = NodeFactory()

    page = admin.get(reverse("admin:nodes_node_change", args=(node.pk,))).content.decode()

    assert f"{node.created_at:%Y-%m-%d %H:%M:%S} UTC" in page


@pytest.mark.parametrize("page", ["admin:nodes_network_add", "admin:auth_group_add"])
def test_boxes_to_choose_from_do_not_say_how_to_use_a_list(admin, page):
    text = admin.get(reverse(page)).content.decode()

    assert "selectfilter" in text
    assert "Hold down" not in text


def test_each_page_has_our_styles(admin):
    assert '/static/aiwm/admin.css"' in admin.get(reverse("admin:index")).content.decode()


def test_quotas_are_named_with_their_units(admin):
    page = admin.get(reverse("admin:accounts_organization_add")).content.decode()

    for label in ("Quota VMs", "Quota vCPUs", "Quota RAM, MB", "Quota disk, GB", "Quota GPUs", "Used MIG instances"):
        assert label in page
