"""accounts.actions"""

import pytest

from accounts import actions
from accounts.actors import Actor
from accounts.models import AuditEntry, LoginFailure, Organization, User
from common.errors import Conflict, Forbidden, NotFound, ValidationFailed
from tests.factories import OperatorFactory, OrganizationFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator():
    return Actor.of(OperatorFactory(), via="admin")


def test_it_changes_a_quota_and_says_so(operator):
    org = OrganizationFactory(quota_gpus=0)
    actions.change_organization(operator, org.id, {"quota_gpus": 4, "name": org.name})
    assert Organization.objects.get(pk=org.pk).quota_gpus == 4
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.org_id, entry.before, entry.after) == (
        "organization.change", org.id, {"quota_gpus": 0}, {"quota_gpus": 4},
    )  # fmt: skip


def test_it_never_writes_what_is_in_use(operator):
    with pytest.raises(ValidationFailed):
        actions.change_organization(operator, OrganizationFactory().id, {"used_gpus": 4})


def test_it_sets_a_role(operator):
    user = UserFactory()
    actions.set_role(operator, user.id, "admin")
    assert User.objects.get(pk=user.pk).role == "admin"
    assert AuditEntry.objects.get().after == {"role": "admin"}
    with pytest.raises(ValidationFailed):
        actions.set_role(operator, user.id, "king")


def test_it_switches_off_and_on(operator):
    user = UserFactory()
    actions.switch_off(operator, user.id)
    off = User.objects.get(pk=user.pk)
    assert (off.is_active, off.token_epoch) == (False, 1)
    actions.switch_on(operator, user.id)
    on = User.objects.get(pk=user.pk)
    assert (on.is_active, on.token_epoch) == (True, 1)
    assert AuditEntry.objects.count() == 2


def test_it_says_nothing_where_nothing_changes(operator):
    user = UserFactory()
    actions.switch_on(operator, user.id)
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("values", [{"is_active": False}, {"is_staff": False}])
def test_operators_cannot_take_their_own_rights(operator, values):
    with pytest.raises(Conflict):
        actions.change_user(operator, operator.user_id, values)


def test_it_never_writes_the_password_into_the_trail(operator):
    user = UserFactory()
    actions.set_password(operator, user.id, "correct horse battery")
    assert User.objects.get(pk=user.pk).check_password("correct horse battery")
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.before, entry.after) == ("user.set_password", None, None)


def test_it_clears_lockouts(operator):
    LoginFailure.objects.create(key="k", failures=5, last_at="2026-01-01T00:00:00Z")
    assert actions.clear_lockouts(operator, ["k", "not there"]) == 1
    assert not LoginFailure.objects.exists()
    assert AuditEntry.objects.get().action == "lockout.clear"


def test_it_is_for_operators():
    member = Actor.of(UserFactory(role="admin"), via="api")
    org, user = OrganizationFactory(), UserFactory()
    for attempt in (
        lambda: actions.change_organization(member, org.id, {"quota_vms": 9}),
        lambda: actions.add_organization(member, Organization(name="mine")),
        lambda: actions.set_role(member, user.id, "admin"),
        lambda: actions.set_password(member, user.id, "x"),
        lambda: actions.add_user(member, User(username="x", organization=org)),
        lambda: actions.clear_lockouts(member, []),
    ):
        with pytest.raises(Forbidden):
            attempt()


def test_it_finds_no_one_who_is_not_there(operator):
    with pytest.raises(NotFound):
        actions.switch_off(operator, "0" * 24)
    with pytest.raises(NotFound):
        actions.change_organization(operator, "0" * 24, {"quota_vms": 1})
    with pytest.raises(NotFound):
        actions.set_password(operator, "0" * 24, "x")


def test_two_operators_do_not_switch_off_each_other(db):
    one, other = OperatorFactory(), OperatorFactory()
    of_other = Actor.of(other, "admin")  # let in while it was still an operator's
    actions.change_user(Actor.of(one, "admin"), other.id, {"is_staff": False})
    with pytest.raises(Forbidden):
        actions.change_user(of_other, one.id, {"is_active": False})
    assert User.objects.get(pk=one.id).is_active
