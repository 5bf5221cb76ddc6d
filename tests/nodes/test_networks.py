import pytest

from nodes.networks import faults, usable_subnet
from tests.factories import NetworkFactory, OrganizationFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def org():
    return OrganizationFactory()


def told(org, vlan_id, ip_address=None, gateway=None, *, is_operator=False, segment="default"):
    found = faults(org.id, is_operator, segment, vlan_id, ip_address, gateway)
    return [(fault.field, fault.message) for fault in found]


UNKNOWN = [("config.networkConfig.vlanId", "VLAN 300 does not exist")]


@pytest.mark.parametrize(("is_open", "answer"), [(True, []), (False, UNKNOWN)])
def test_it_takes_a_vlan_without_a_row_by_the_setting(org, settings, is_open, answer):
    settings.OPEN_VLANS = is_open
    assert told(org, 300) == answer


@pytest.mark.parametrize("is_open", [True, False])
def test_it_always_takes_the_untagged_network_without_a_row(org, settings, is_open):
    settings.OPEN_VLANS = is_open
    assert told(org, None) == []


@pytest.mark.parametrize("is_open", [True, False])
def test_it_answers_for_another_organizations_vlan_as_for_an_unknown_one(org, settings, is_open):
    settings.OPEN_VLANS = is_open
    NetworkFactory(vlan_id=300, organizations=[OrganizationFactory()], subnet="10.0.0.0/24")
    assert told(org, 300, "10.0.0.5", "10.0.0.1") == UNKNOWN


def test_it_tells_an_operator_whose_it_is_not(org):
    NetworkFactory(vlan_id=300, name="lab", organizations=[OrganizationFactory()])
    ((field, message),) = told(org, 300, is_operator=True)
    assert field == "config.networkConfig.vlanId"
    assert "not open to this organization" in message


def test_it_lets_the_owners_in(org):
    NetworkFactory(vlan_id=300, organizations=[OrganizationFactory(), org])
    assert told(org, 300) == []


def test_it_is_open_to_all_with_no_organization(org, settings):
    settings.OPEN_VLANS = False
    NetworkFactory(vlan_id=300)
    assert told(org, 300) == []


def test_it_tells_segments_apart(org, settings):
    settings.OPEN_VLANS = False
    NetworkFactory(vlan_id=300, segment="lab")
    assert told(org, 300) == UNKNOWN
    assert told(org, 300, segment="lab") == []


def test_it_closes_the_untagged_network_by_a_row(org):
    NetworkFactory(vlan_id=0, organizations=[OrganizationFactory()])
    assert told(org, None) == [("config.networkConfig.vlanId", "The untagged network does not exist")]


@pytest.mark.parametrize(
    ("address", "word"),
    [("10.0.0.5", None), ("10.0.1.5", "host address of 10.0.0.0/24"), ("10.0.0.0", "host address"),
     ("10.0.0.255", "host address"), ("10.0.0.1", "gateway of VLAN 300")],
)  # fmt: skip
def test_it_keeps_addresses_to_the_subnet(org, address, word):
    NetworkFactory(vlan_id=300, subnet="10.0.0.0/24", gateway="10.0.0.1")
    found = told(org, 300, address)
    if word is None:
        assert found == []
    else:
        ((field, message),) = found
        assert field == "config.networkConfig.ipAddress"
        assert word in message


def test_it_names_both_faults_at_once(org):
    NetworkFactory(vlan_id=300, subnet="10.0.0.0/24")
    fields = [field for field, _ in told(org, 300, "10.9.0.5", "10.9.0.1")]
    assert fields == ["config.networkConfig.ipAddress", "config.networkConfig.gateway"]


def test_it_does_not_care_for_addresses_where_no_subnet_is_named(org):
    NetworkFactory(vlan_id=300)
    assert told(org, 300, "10.9.0.5", "10.9.0.1") == []


@pytest.mark.parametrize("text", ["10.0.0.1/24", "10.0.0.0/31", "2001:db8::/64", "x", "10.0.0.0/33"])
def test_it_refuses_subnets_that_are_none(text):
    with pytest.raises(ValueError, match="Must"):
        usable_subnet(text)
