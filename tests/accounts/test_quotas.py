"""accounts.quotas"""

import pytest
from django.db.models import F

from accounts import quotas
from accounts.models import Organization
from accounts.quotas import Usage
from common.db import atomic
from common.errors import NotFound, QuotaExceeded
from tests.factories import OrganizationFactory

pytestmark = pytest.mark.django_db

ONE = Usage(vms=1, vcpus=4, ram_mb=8192, disk_gb=100, gpus=1, mig_instances=2)


def used(org):
    row = Organization.objects.get(pk=org.pk)
    return Usage(*(getattr(row, f"used_{name}") for name in quotas.NAMES))


def test_it_counts_and_gives_back():
    org = OrganizationFactory()
    quotas.reserve(org.id, ONE)
    quotas.reserve(org.id, ONE)
    assert used(org) == ONE + ONE
    quotas.give_back(org.id, ONE)
    assert used(org) == ONE
    assert used(org) - ONE == Usage()


def test_it_takes_the_last_of_it_and_no_more():
    org = OrganizationFactory(quota_vms=2)
    quotas.reserve(org.id, Usage(vms=2))
    with pytest.raises(QuotaExceeded):
        quotas.reserve(org.id, Usage(vms=1))
    assert used(org) == Usage(vms=2)


def test_it_names_only_what_falls_short():
    org = OrganizationFactory(quota_ram_mb=8192, quota_gpus=0, used_ram_mb=4096)
    with pytest.raises(QuotaExceeded) as caught:
        quotas.reserve(org.id, ONE)
    assert caught.value.extra["quota"] == {
        "ramMB": {"limit": 8192, "used": 4096, "requested": 8192},
        "gpus": {"limit": 0, "used": 0, "requested": 1},
    }
    assert "ramMB: 8,192 requested, 4,096 of 8,192 used" in caught.value.message
    assert used(org) == Usage(ram_mb=4096)


def test_it_changes_by_the_difference():
    org = OrganizationFactory(quota_vcpus=6)
    quotas.reserve(org.id, ONE)
    quotas.change(org.id, ONE, Usage(vms=1, vcpus=6, ram_mb=4096, disk_gb=100, gpus=1, mig_instances=2))
    assert used(org).vcpus == 6
    assert used(org).ram_mb == 4096
    with pytest.raises(QuotaExceeded) as caught:
        quotas.change(org.id, Usage(vcpus=6), Usage(vcpus=7))
    assert caught.value.extra["quota"] == {"vcpus": {"limit": 6, "used": 6, "requested": 1}}
    assert "vcpus: 1 more requested, 6 of 6 used" in caught.value.message


def test_it_lets_shrink_above_a_quota_that_was_lowered():
    org = OrganizationFactory(quota_vcpus=1, used_vcpus=8)
    quotas.change(org.id, Usage(vcpus=8), Usage(vcpus=4))
    assert used(org) == Usage(vcpus=4)


def test_it_never_goes_below_nothing(caplog):
    org = OrganizationFactory(used_vms=1, used_vcpus=2)
    quotas.give_back(org.id, Usage(vms=1, vcpus=4))
    assert used(org) == Usage()
    assert "recount" in caplog.text


def test_it_sees_what_another_took_since(monkeypatch):
    """The organization was read with room for it, and another takes that before the update."""
    org = OrganizationFactory(quota_vms=1)
    Organization.objects.filter(pk=org.pk).update(used_vms=F("used_vms") + 1)
    with pytest.raises(QuotaExceeded):
        quotas.reserve(org.id, Usage(vms=1))


def test_it_is_undone_with_the_rest_of_its_transaction():
    org = OrganizationFactory()

    @atomic
    def fails():
        quotas.reserve(org.id, ONE)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert used(org) == Usage()


def test_it_takes_one_statement(django_assert_num_queries):
    org = OrganizationFactory()
    with django_assert_num_queries(3):  # with the savepoint's two
        quotas.reserve(org.id, ONE)


@pytest.mark.parametrize("usage", [ONE, Usage()])
def test_it_knows_no_organization_that_is_not_there(usage):
    with pytest.raises(NotFound):
        quotas.reserve("0" * 24, usage)


def test_it_speaks_the_names_of_the_api():
    org = OrganizationFactory(used_mig_instances=3)
    assert quotas.usage_document(org) == {
        "vms": 0, "vcpus": 0, "ramMB": 0, "diskGB": 0, "gpus": 0, "migInstances": 3,
    }  # fmt: skip
    assert quotas.quota_document(org)["ramMB"] == 2_097_152
