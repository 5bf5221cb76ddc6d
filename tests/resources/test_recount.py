"""The counters counted anew, also while others change what is counted."""

import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.actors import Actor
from accounts.models import Organization
from nodes.claims import NOBODY
from nodes.models import Claim, Node, StrayAddress
from resources import recount as module
from resources.actions import create
from resources.recount import recount
from tests.factories import NodeFactory, UserFactory, VirtualMachineFactory, create_body, static_network, vm_config


@pytest.mark.django_db
def test_it_finds_nothing_where_all_agrees():
    VirtualMachineFactory()
    assert recount() == []


@pytest.mark.django_db
def test_it_tells_what_differs_and_changes_nothing():
    vm = VirtualMachineFactory()
    Node.objects.update(used_vcpus=7)
    Claim.objects.create(key="ip:default:1:10.0.0.9", vm_id="f" * 24)
    found = [str(difference) for difference in recount()]
    assert found == [
        f"node {vm.node.name}, vcpus: stored 7, counted 2",
        f"claim ip:default:1:10.0.0.9 of {'f' * 24}: stored 1, counted 0",
    ]
    assert Node.objects.get().used_vcpus == 7
    with pytest.raises(CommandError, match="2 differ"):
        call_command("recount")


@pytest.mark.django_db
def test_it_sets_right_what_differs():
    vm = VirtualMachineFactory(config={"networkConfig": static_network("10.0.0.8")})
    Node.objects.update(used_vcpus=7)
    Organization.objects.update(used_vms=0)
    Claim.objects.create(key="ip:default:1:10.0.0.9", vm_id="f" * 24)
    assert len(recount(fix=True)) >= 3
    assert recount() == []
    assert Claim.objects.get().vm_id == vm.id


@pytest.mark.django_db
def test_it_sets_right_what_is_held_for_domains_of_nobody():
    """10.0.0.7 is one's, and free by mistake; 10.0.0.8 is one's, and a VM's as well; 10.0.0.9 is no domain's more."""
    vm = VirtualMachineFactory(config={"networkConfig": static_network("10.0.0.8", 1)})
    for address in ("10.0.0.7", "10.0.0.8"):
        StrayAddress.objects.create(node=vm.node, vlan_id=1, address=address, domain="theirs")
    Claim.objects.create(key="ip:default:1:10.0.0.9", vm_id=NOBODY)

    found = [str(difference) for difference in recount(fix=True)]

    assert found == [
        "claim ip:default:1:10.0.0.7 of no VM: stored 0, counted 1",
        "claim ip:default:1:10.0.0.9 of no VM: stored 1, counted 0",
    ]
    assert recount() == []
    assert dict(Claim.objects.values_list("key", "vm_id")) == {
        "ip:default:1:10.0.0.7": NOBODY,
        "ip:default:1:10.0.0.8": vm.id,
    }


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite lets one transaction write at a time")
def test_it_never_undoes_what_another_counts_meanwhile(monkeypatch):
    user, node = UserFactory(), NodeFactory()
    Node.objects.update(used_vcpus=7)  # wrong, so that there is something to set right
    config = vm_config(networkConfig=static_network("10.0.0.8"))
    compare, created = module._compare, []

    def create_one():
        created.append(create(Actor.of(user, via="api"), create_body(node, config=config)))
        connection.close()

    def compare_late(*args):
        if not created:  # another creates a VM after the rows were read, and before they are written
            thread = threading.Thread(target=create_one)
            thread.start()
            thread.join()
        return compare(*args)

    monkeypatch.setattr(module, "_compare", compare_late)
    recount(fix=True)
    monkeypatch.undo()
    assert recount() == []
    assert Node.objects.get().used_vcpus == 2
    assert Claim.objects.count() == 1
