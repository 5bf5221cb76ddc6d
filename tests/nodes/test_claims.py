import itertools

import pytest

from common.db import atomic
from common.errors import Conflict, ValidationFailed
from common.ids import new_object_id
from nodes import claims
from nodes.models import Claim, Gpu, GpuUse
from tests.factories import GpuFactory, NodeFactory
from vmbackends.base import GpuSpec

pytestmark = pytest.mark.django_db

ORG = "a" * 24


def vm() -> str:
    return new_object_id()


@pytest.fixture
def node():
    return NodeFactory(name="worker-gpu-01")


@pytest.fixture
def cards(node):
    return [GpuFactory(node=node, device_id=f"GPU-{n}") for n in range(4)]


def held(gpu: Gpu) -> set[int]:
    return {claims.slice_of(claim)[1] for claim in claims.gpu_claims([gpu])}


def claims_of(vm_id: str) -> list[str]:
    return list(Claim.objects.filter(vm_id=vm_id).order_by("key").values_list("key", flat=True))


# Whole GPUs


def test_it_takes_whole_gpus_with_all_their_slices(node, cards):
    mine = vm()
    assert claims.take_gpus(mine, ORG, node.id, ["GPU-1", "GPU-0"]) == ["GPU-1", "GPU-0"]
    assert held(cards[0]) == held(cards[1]) == set(range(8))
    assert claims_of(mine) == sorted(f"gpu:{card.id}:{n}" for card in cards[:2] for n in range(8))
    assert {claim.org_id for claim in Claim.objects.all()} == {ORG}


def test_it_takes_one_slice_of_a_card_without_mig(node):
    gpu = GpuFactory(node=node, device_id="GPU-0", model="NVIDIA L40S", memory_mb=46_068)
    claims.take_gpus(vm(), ORG, node.id, ["GPU-0"])
    assert held(gpu) == {0}


def test_it_says_which_gpu_is_taken_and_which_are_free(node, cards):
    claims.take_gpus(vm(), ORG, node.id, ["GPU-1"])
    with pytest.raises(Conflict) as refused:
        claims.take_gpus(vm(), ORG, node.id, ["GPU-0", "GPU-1"])
    assert refused.value.message == "GPU-1 of worker-gpu-01 is taken. Free on this node: GPU-0, GPU-2, GPU-3."


def test_it_says_so_where_none_is_free(node, cards):
    claims.take_gpus(vm(), ORG, node.id, [card.device_id for card in cards])
    with pytest.raises(Conflict, match=r"GPU-0, GPU-3 of worker-gpu-01 are taken\. No GPU of this node is free\."):
        claims.take_gpus(vm(), ORG, node.id, ["GPU-0", "GPU-3"])


def test_it_leaves_nothing_behind_where_one_of_two_is_taken(node, cards):
    loser = vm()
    claims.take_gpus(vm(), ORG, node.id, ["GPU-1"])
    with pytest.raises(Conflict):
        claims.take_gpus(loser, ORG, node.id, ["GPU-0", "GPU-1"])
    assert claims_of(loser) == []
    assert held(cards[0]) == set()


def test_it_never_names_who_has_it(node, cards):
    holder = vm()
    claims.take_gpus(holder, ORG, node.id, ["GPU-1"])
    with pytest.raises(Conflict) as refused:
        claims.take_gpus(vm(), "b" * 24, node.id, ["GPU-1"])
    assert holder not in str(refused.value)
    assert ORG not in str(refused.value)


def test_it_does_not_know_gpus_of_other_nodes(node, cards):
    GpuFactory(device_id="GPU-9")
    with pytest.raises(ValidationFailed) as refused:
        claims.take_gpus(vm(), ORG, node.id, ["GPU-0", "GPU-9"])
    assert refused.value.errors[0].field == "config.gpuConfig.deviceIds"
    assert refused.value.message == "The node has no GPU-9. It has GPU-0, GPU-1, GPU-2, GPU-3."


def test_it_does_not_pass_a_card_for_mig_through(node):
    GpuFactory(node=node, device_id="GPU-0", use=GpuUse.MIG)
    with pytest.raises(Conflict, match="GPU-0 is for MIG"):
        claims.take_gpus(vm(), ORG, node.id, ["GPU-0"])


def test_it_does_not_give_out_a_card_that_the_node_no_longer_has(node):
    GpuFactory(node=node, device_id="GPU-0", present=False)
    with pytest.raises(ValidationFailed, match="It has no GPU"):
        claims.take_gpus(vm(), ORG, node.id, ["GPU-0"])


def test_it_gives_out_no_card_that_a_domain_of_nobodys_has_and_never_names_that(node, cards):
    Gpu.objects.filter(pk__in=[cards[0].pk, cards[1].pk]).update(stray_domain="somebodys")
    with pytest.raises(Conflict) as refused:
        claims.take_gpus(vm(), ORG, node.id, ["GPU-0", "GPU-2"])
    assert refused.value.message == "GPU-0 of worker-gpu-01 is taken. Free on this node: GPU-2, GPU-3."
    assert not Claim.objects.exists()


def test_it_refuses_a_card_that_such_a_domain_got_after_it_was_read(node, cards, monkeypatch):
    insert = claims._insert

    def got_meanwhile(*args):
        Gpu.objects.filter(pk=cards[0].pk).update(stray_domain="somebodys")
        return insert(*args)

    monkeypatch.setattr(claims, "_insert", got_meanwhile)
    with pytest.raises(Conflict, match="was changed in this moment"):
        claims.take_gpus(vm(), ORG, node.id, ["GPU-0"])


def test_it_may_be_repeated_by_the_same_vm(node, cards):
    mine = vm()
    claims.take_gpus(mine, ORG, node.id, ["GPU-0"])
    assert claims.take_gpus(mine, ORG, node.id, ["GPU-0", "GPU-1"]) == ["GPU-0", "GPU-1"]


def test_it_keeps_what_the_vm_had_when_more_is_refused(node, cards):
    mine = vm()
    claims.take_gpus(mine, ORG, node.id, ["GPU-0"])
    claims.take_gpus(vm(), ORG, node.id, ["GPU-1"])
    with pytest.raises(Conflict):
        claims.take_gpus(mine, ORG, node.id, ["GPU-0", "GPU-1"])
    assert held(cards[0]) == set(range(8))
    assert len(claims_of(mine)) == 8


def rival_before(monkeypatch, *keys: str, times: int = 1) -> str:
    """Another VM that claims these just before we insert ours: what we read was true, and no longer is."""
    rival, insert, left = vm(), claims._insert, [times]

    def slower(vm_id, org_id, wanted):
        if vm_id != rival and left[0]:
            left[0] -= 1
            Claim.objects.bulk_create([Claim(key=key, vm_id=rival, org_id="b" * 24) for key in keys])
        return insert(vm_id, org_id, wanted)

    monkeypatch.setattr(claims, "_insert", slower)
    return rival


def test_it_loses_a_race_for_one_slice_of_a_gpu_and_takes_nothing(node, cards, monkeypatch):
    mine = vm()
    rival = rival_before(monkeypatch, f"gpu:{cards[1].id}:3")
    with pytest.raises(Conflict, match="GPU-1 of worker-gpu-01 is taken"):
        claims.take_gpus(mine, ORG, node.id, ["GPU-0", "GPU-1"])
    assert claims_of(mine) == []
    assert claims_of(rival) == []  # in this test it was in the same transaction, which is undone


def test_it_refuses_a_card_that_an_operator_changed_after_it_was_read(node, cards, monkeypatch):
    insert = claims._insert

    def changed_meanwhile(*args):
        Gpu.objects.filter(pk=cards[0].pk).update(model="NVIDIA L40S", memory_mb=46_068)
        return insert(*args)

    monkeypatch.setattr(claims, "_insert", changed_meanwhile)
    with pytest.raises(Conflict, match="was changed in this moment"):
        claims.take_gpus(vm(), ORG, node.id, ["GPU-0"])


# MIG


def test_it_takes_an_instance_and_names_its_place(node, cards):
    mine = vm()
    text = claims.take_mig(mine, ORG, node.id, "3g.20gb")
    device_id, profile, start = text.split(":")
    assert (device_id, profile) == ("GPU-0", "3g.20gb")
    assert held(cards[0]) == set(range(int(start), int(start) + 4))
    assert len(claims_of(mine)) == 4


def test_it_fills_the_fullest_card_first(node, cards):
    claims.take_mig(vm(), ORG, node.id, "1g.5gb")
    Claim.objects.create(key=f"gpu:{cards[2].id}:0", vm_id=vm(), org_id=ORG)
    Claim.objects.create(key=f"gpu:{cards[2].id}:1", vm_id=vm(), org_id=ORG)
    assert claims.take_mig(vm(), ORG, node.id, "2g.10gb").startswith("GPU-2:")
    assert claims.take_mig(vm(), ORG, node.id, "3g.20gb") == "GPU-2:3g.20gb:4"
    assert claims.take_mig(vm(), ORG, node.id, "3g.20gb").startswith("GPU-0:")


def test_it_orders_cards_by_number_and_not_by_text(node):
    for n in (10, 9, 2):
        GpuFactory(node=node, device_id=f"GPU-{n}")
    assert claims.take_mig(vm(), ORG, node.id, "7g.40gb").startswith("GPU-2:")
    assert claims.take_mig(vm(), ORG, node.id, "7g.40gb").startswith("GPU-9:")
    assert claims.take_mig(vm(), ORG, node.id, "7g.40gb").startswith("GPU-10:")


def test_it_gives_seven_small_instances_and_no_eighth(node):
    GpuFactory(node=node, device_id="GPU-0")
    places = {claims.take_mig(vm(), ORG, node.id, "1g.5gb") for _ in range(7)}
    assert places == {f"GPU-0:1g.5gb:{n}" for n in range(7)}
    with pytest.raises(Conflict) as refused:
        claims.take_mig(vm(), ORG, node.id, "1g.5gb")
    assert refused.value.message == (
        "There is no room for another 1g.5gb on worker-gpu-01. No MIG instance is free on this node."
    )


def test_it_says_which_profiles_still_fit(node):
    GpuFactory(node=node, device_id="GPU-0")
    claims.take_mig(vm(), ORG, node.id, "3g.20gb")
    with pytest.raises(Conflict) as refused:
        claims.take_mig(vm(), ORG, node.id, "7g.40gb")
    assert refused.value.message == (
        "There is no room for another 7g.40gb on worker-gpu-01. "
        "Free on this node: 1g.5gb (4), 1g.10gb (2), 2g.10gb (2), 3g.20gb (1), 4g.20gb (1)."
    )


def test_it_refuses_what_gigabytes_alone_would_allow(node):
    """Four slices are free, and no four in a row where an instance may begin."""
    gpu = GpuFactory(node=node, device_id="GPU-0")
    for number in (0, 1, 4, 5):
        Claim.objects.create(key=f"gpu:{gpu.id}:{number}", vm_id=vm(), org_id=ORG)
    with pytest.raises(Conflict):
        claims.take_mig(vm(), ORG, node.id, "3g.20gb")


def test_it_does_not_know_profiles_that_no_card_offers(node, cards):
    with pytest.raises(ValidationFailed) as refused:
        claims.take_mig(vm(), ORG, node.id, "1g.18gb")
    assert refused.value.errors[0].field == "config.gpuConfig.migProfile"
    assert "It offers 1g.5gb, 1g.10gb, 2g.10gb" in refused.value.message


def test_it_cuts_no_card_that_is_for_passthrough(node):
    GpuFactory(node=node, device_id="GPU-0", use=GpuUse.PASSTHROUGH)
    with pytest.raises(ValidationFailed, match=r"No GPU of the node offers the MIG profile 1g\.5gb\. It offers none\."):
        claims.take_mig(vm(), ORG, node.id, "1g.5gb")


def test_it_cuts_no_card_that_a_domain_of_nobodys_has(node, cards):
    Gpu.objects.exclude(pk=cards[3].pk).update(stray_domain="somebodys")
    assert claims.take_mig(vm(), ORG, node.id, "7g.40gb") == "GPU-3:7g.40gb:0"
    with pytest.raises(Conflict, match="No MIG instance is free on this node"):
        claims.take_mig(vm(), ORG, node.id, "1g.5gb")


def test_it_shares_no_card_between_passthrough_and_mig(node):
    GpuFactory(node=node, device_id="GPU-0")
    claims.take_mig(vm(), ORG, node.id, "1g.5gb")
    with pytest.raises(Conflict):
        claims.take_gpus(vm(), ORG, node.id, ["GPU-0"])


def test_it_never_cuts_a_card_that_was_passed_through(node):
    GpuFactory(node=node, device_id="GPU-0")
    claims.take_gpus(vm(), ORG, node.id, ["GPU-0"])
    with pytest.raises(Conflict):
        claims.take_mig(vm(), ORG, node.id, "1g.5gb")


def test_it_tries_the_next_placement_when_it_loses_a_race(node, monkeypatch):
    gpu = GpuFactory(node=node, device_id="GPU-0")
    mine = vm()
    rival_before(monkeypatch, f"gpu:{gpu.id}:7", f"gpu:{gpu.id}:6")
    assert claims.take_mig(mine, ORG, node.id, "3g.20gb") == "GPU-0:3g.20gb:0"
    assert claims_of(mine) == [f"gpu:{gpu.id}:{n}" for n in range(4)]


def test_it_goes_to_the_next_card_when_it_loses_a_race(node, cards, monkeypatch):
    mine = vm()
    rival_before(monkeypatch, f"gpu:{cards[0].id}:0")
    assert claims.take_mig(mine, ORG, node.id, "7g.40gb") == "GPU-1:7g.40gb:0"
    assert held(cards[0]) == {0}


@pytest.mark.parametrize("profiles", list(itertools.combinations_with_replacement(["1g.6gb", "2g.12gb", "4g.24gb"], 3)))
def test_it_never_gives_a_slice_twice(node, profiles):
    """Every mix of three on one A30, in every order: each is placed where it may be, or refused."""
    gpu = GpuFactory(node=node, device_id="GPU-0", model="NVIDIA A30", memory_mb=24_576)
    allowed = {profile.name: profile for profile in claims.profiles_of(gpu)}
    for order in set(itertools.permutations(profiles)):
        Claim.objects.all().delete()
        taken: set[int] = set()
        for name in order:
            profile = allowed[name]
            fits = any(taken.isdisjoint(profile.span(start)) for start in profile.starts)
            try:
                start = int(claims.take_mig(vm(), ORG, node.id, name).rsplit(":", 1)[1])
            except Conflict:
                assert not fits
                continue
            assert fits
            assert start in profile.starts
            assert taken.isdisjoint(profile.span(start))
            taken |= set(profile.span(start))
        assert held(gpu) == taken


# Addresses


def test_it_gives_an_address_once_a_network():
    first, second = vm(), vm()
    claims.take_address(first, ORG, "default", 100, "192.168.100.10")
    with pytest.raises(Conflict) as refused:
        claims.take_address(second, "b" * 24, "default", 100, "192.168.100.10")
    assert refused.value.message == "The address 192.168.100.10 of VLAN 100 is taken by another VM. Choose another."
    assert first not in refused.value.message
    claims.take_address(second, ORG, "default", None, "192.168.100.10")
    claims.take_address(second, ORG, "other", 100, "192.168.100.10")
    assert claims_of(second) == ["ip:default:0:192.168.100.10", "ip:other:100:192.168.100.10"]


# Giving back


def test_it_gives_back_what_it_is_asked_to(node, cards):
    mine, other = vm(), vm()
    claims.take_gpus(other, ORG, node.id, ["GPU-3"])
    claims.take_gpus(mine, ORG, node.id, ["GPU-0"])
    claims.take_address(mine, ORG, "default", None, "10.0.0.5")
    claims.take_address(mine, ORG, "default", None, "10.0.0.6")
    claims.give_back_gpus(mine)
    assert claims_of(mine) == ["ip:default:0:10.0.0.5", "ip:default:0:10.0.0.6"]
    claims.give_back_address(mine)
    assert claims_of(mine) == []
    claims.take_gpus(mine, ORG, node.id, ["GPU-0"])
    claims.give_back(mine)
    assert claims_of(mine) == []
    assert len(claims_of(other)) == 8


def test_it_gives_back_and_takes_anew_in_one_transaction_or_not_at_all(node, cards):
    mine = vm()
    claims.take_gpus(mine, ORG, node.id, ["GPU-0"])
    claims.take_gpus(vm(), ORG, node.id, ["GPU-1"])

    @atomic
    def swap():
        claims.give_back_gpus(mine)
        claims.take_gpus(mine, ORG, node.id, ["GPU-1"])

    with pytest.raises(Conflict):
        swap()
    assert claims_of(mine) == [f"gpu:{cards[0].id}:{n}" for n in range(8)]


# What a backend is told


def test_it_tells_a_backend_what_was_given(node, cards):
    assert claims.gpu_specs(node.id, []) == ()
    whole, part = claims.gpu_specs(node.id, ["GPU-1", "GPU-0:1g.5gb:3"])
    assert whole == GpuSpec("GPU-1", cards[1].model, 40_960, cards[1].pci_address)
    assert part == GpuSpec("GPU-0", cards[0].model, 40_960, cards[0].pci_address, "1g.5gb", 3)
