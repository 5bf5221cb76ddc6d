"""The admin's pages of accounts."""

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from accounts import guard, tokens
from accounts.models import AuditEntry, IdempotencyKey, LoginFailure, Organization, UsedRefresh, User
from common.errors import TokenNotValid
from tests.factories import OperatorFactory, OrganizationFactory, UserFactory

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"


@pytest.fixture
def operator():
    return OperatorFactory(password=PASSWORD)


@pytest.fixture
def admin(operator):
    client = Client()
    client.force_login(operator)
    return client


def staff(*permissions):
    user = OperatorFactory(is_superuser=False)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def user_form(user, **changes):
    data = {
        "username": user.username,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "email": user.email,
        "organization": user.organization_id,
        "role": user.role,
        **({"is_active": "on"} if user.is_active else {}),
        **({"is_staff": "on"} if user.is_staff else {}),
        **({"is_superuser": "on"} if user.is_superuser else {}),
        **changes,
    }
    return {name: value for name, value in data.items() if value is not None}


def change_url(row):
    return reverse(f"admin:accounts_{row._meta.model_name}_change", args=[row.pk])


MODELS = ["organization", "user", "auditentry", "usedrefresh", "loginfailure", "idempotencykey"]


@pytest.mark.parametrize("model", MODELS)
def test_it_lists(admin, model):
    OrganizationFactory()
    UsedRefresh.objects.create(jti="j", expires_at="2026-01-01T00:00:00Z")
    LoginFailure.objects.create(key="k", last_at="2026-01-01T00:00:00Z")
    IdempotencyKey.objects.create(key="i", body="b", created_at="2026-01-01T00:00:00Z")
    url = reverse(f"admin:accounts_{model}_changelist")
    assert admin.get(url).status_code == 200
    assert admin.get(url, {"q": "something"}).status_code == 200


def test_it_shows_each_row(admin, operator):
    rows = [
        operator.organization,
        operator,
        UsedRefresh.objects.create(jti="j", expires_at="2026-01-01T00:00:00Z"),
        LoginFailure.objects.create(key="k", last_at="2026-01-01T00:00:00Z"),
        IdempotencyKey.objects.create(key="i", body="b", created_at="2026-01-01T00:00:00Z"),
    ]
    for row in rows:
        assert admin.get(change_url(row)).status_code == 200


@pytest.mark.parametrize("model", ["user", "organization"])
def test_it_adds_nothing_on_a_get(admin, model):
    assert admin.get(reverse(f"admin:accounts_{model}_add")).status_code == 200


@pytest.mark.parametrize("model", ["auditentry", "usedrefresh", "loginfailure", "idempotencykey"])
def test_it_adds_nothing_by_hand(admin, model):
    assert admin.get(reverse(f"admin:accounts_{model}_add")).status_code == 403


def test_it_adds_an_organization(admin):
    names = ("vms", "vcpus", "ram_mb", "disk_gb", "gpus", "mig_instances")
    data = {"name": "research", **{f"quota_{name}": 7 for name in names}}
    assert admin.post(reverse("admin:accounts_organization_add"), data).status_code == 302
    org = Organization.objects.get(name="research")
    assert org.quota_ram_mb == 7
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.via, entry.org_id) == ("organization.create", "admin", org.id)


def test_it_changes_a_quota(admin):
    org = OrganizationFactory(used_vms=5)
    names = ("vms", "vcpus", "ram_mb", "disk_gb", "gpus", "mig_instances")
    data = {"name": org.name, **{f"quota_{name}": getattr(org, f"quota_{name}") for name in names}, "quota_vms": 1}
    assert admin.post(change_url(org), {**data, "used_vms": 0}).status_code == 302
    org.refresh_from_db()
    assert (org.quota_vms, org.used_vms) == (1, 5)
    assert AuditEntry.objects.get().after == {"quota_vms": 1}


@pytest.mark.parametrize("model", ["organization", "user", "auditentry"])
def test_it_deletes_nothing(admin, operator, model):
    AuditEntry.objects.create(actor_name="a", via="api", action="x", object_type="y", object_id="z")
    row = {"organization": operator.organization, "user": operator, "auditentry": AuditEntry.objects.get()}[model]
    assert admin.post(reverse(f"admin:accounts_{model}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403


def test_it_adds_a_user(admin):
    org = OrganizationFactory()
    data = {
        "username": "ada", "email": "ada@example.com", "organization": org.id, "role": "viewer",
        "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD,
    }  # fmt: skip
    assert admin.post(reverse("admin:accounts_user_add"), data).status_code == 302
    user = User.objects.get(username="ada")
    assert user.check_password(PASSWORD)
    assert (user.organization_id, user.role, user.is_staff) == (org.id, "viewer", False)
    entry = AuditEntry.objects.get(action="user.create")
    assert "password" not in entry.after
    assert admin.get(change_url(user)).status_code == 200


def test_it_switches_a_user_off(admin):
    user = UserFactory()
    pair = tokens.issue(user)
    assert admin.post(change_url(user), user_form(user, is_active=None)).status_code == 302
    user.refresh_from_db()
    assert (user.is_active, user.token_epoch) == (False, 1)
    with pytest.raises(TokenNotValid):
        tokens.refresh(pair.refresh)
    assert AuditEntry.objects.get().after == {"is_active": False}


def test_it_moves_a_user(admin):
    user, org = UserFactory(), OrganizationFactory()
    assert admin.post(change_url(user), user_form(user, organization=org.id, role="admin")).status_code == 302
    user.refresh_from_db()
    assert (user.organization_id, user.role) == (org.id, "admin")


def test_it_shows_what_an_action_refuses(admin, operator):
    response = admin.post(change_url(operator), user_form(operator, is_active=None), follow=True)
    assert response.status_code == 200
    assert "You cannot switch off yourself" in response.content.decode()
    operator.refresh_from_db()
    assert operator.is_active


def test_it_says_which_permissions_were_given(admin):
    user = UserFactory()
    permission = Permission.objects.get(codename="view_user")
    data = user_form(user, is_staff="on", user_permissions=[permission.pk])
    assert admin.post(change_url(user), data).status_code == 302
    entry = AuditEntry.objects.get(action="user.change_permissions")
    assert entry.after == {"groups": [], "user_permissions": ["view_user"]}


def test_it_sets_a_password_and_ends_the_tokens(admin):
    user = UserFactory(password="first password")
    pair = tokens.issue(User.objects.get(pk=user.pk))
    url = reverse("admin:auth_user_password_change", args=[user.pk])
    assert admin.get(url).status_code == 200
    response = admin.post(
        url, {"password1": PASSWORD, "password2": PASSWORD, "set-password": "1", "usable_password": "true"}
    )
    assert response.status_code == 302
    with pytest.raises(TokenNotValid):
        tokens.refresh(pair.refresh)
    assert AuditEntry.objects.get().action == "user.set_password"


def test_staff_see_what_they_may_view_and_no_more():
    user = UserFactory()
    client = staff("view_user")
    assert client.get(change_url(user)).status_code == 200
    assert client.post(change_url(user), user_form(user, role="admin")).status_code == 403
    assert client.get(reverse("admin:accounts_organization_changelist")).status_code == 403


def test_staff_who_may_change_users_make_no_operators():
    user = UserFactory()
    client = staff("view_user", "change_user")
    data = user_form(user, role="admin", is_staff="on", is_superuser="on")
    assert client.post(change_url(user), data).status_code == 302
    user.refresh_from_db()
    assert (user.role, user.is_staff, user.is_superuser) == ("admin", False, False)


def test_staff_who_may_change_users_touch_no_operators(operator):
    client = staff("view_user", "change_user")
    assert client.post(change_url(operator), user_form(operator, email="x@example.com")).status_code == 403
    url = reverse("admin:auth_user_password_change", args=[operator.pk])
    assert client.post(url, {"password1": PASSWORD, "password2": PASSWORD}).status_code == 403


def test_it_finds_and_clears_a_lock_out_after_asking(admin):
    guard.failed("ada", "10.0.0.1")
    guard.failed("bob", "10.0.0.1")
    url = reverse("admin:accounts_loginfailure_changelist")
    key = guard.key_of("ada", "10.0.0.1")
    found = admin.get(url, {"q": "ada 10.0.0.1"}).content.decode()
    assert key in found
    assert guard.key_of("bob", "10.0.0.1") not in found
    asked = admin.post(url, {"action": "delete_selected", "_selected_action": [key]})
    assert asked.status_code == 200
    assert LoginFailure.objects.filter(key=key).exists()
    admin.post(url, {"action": "delete_selected", "_selected_action": [key], "post": "yes"})
    assert not LoginFailure.objects.filter(key=key).exists()
    assert LoginFailure.objects.count() == 1
    assert AuditEntry.objects.get().action == "lockout.clear"


def test_the_log_in_of_the_admin_works_and_locks_out(operator, settings):
    settings.LOGIN_FAILURES = 2
    client = Client()
    url = reverse("admin:login")

    def log_in(password):
        return client.post(url, {"username": operator.username, "password": password})

    assert log_in("wrong").status_code == 200
    assert log_in("wrong").status_code == 200
    locked = log_in(PASSWORD)
    assert locked.status_code == 200
    assert "Too many failed log-ins" in locked.content.decode()
    LoginFailure.objects.all().delete()
    assert log_in(PASSWORD).status_code == 302


def test_a_log_in_without_a_place_to_go_leads_to_the_first_page(operator):
    answer = Client().post(reverse("admin:login"), {"username": operator.username, "password": PASSWORD})
    assert answer["Location"] == reverse("admin:index")


@pytest.mark.parametrize("data", [{}, {"username": "x"}, {"password": "x"}])
def test_a_log_in_form_with_a_field_left_out_comes_back(db, data):
    answer = Client().post(reverse("admin:login"), data)
    assert answer.status_code == 200
    assert answer.context["form"].errors
