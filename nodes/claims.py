"""What one VM holds alone: GPUs, MIG instances and addresses.

A claim is a row whose primary key names the thing, so that a second holder cannot be written, on any engine.
Rows of GPUs are inserted in the order of their keys, and those that another has written first are left out; whether
all are ours is read afterwards. Claims are rows of the transaction around: where something else fails, they were
never there.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.db import IntegrityError
from django.db.models import F, QuerySet

from common.db import atomic
from common.errors import Conflict, FieldError, ValidationFailed
from nodes import mig
from nodes.models import Claim, Gpu, GpuUse, Node, StrayAddress
from vmbackends.base import GpuSpec

WHOLE = (GpuUse.PASSTHROUGH, GpuUse.EITHER)
SLICED = (GpuUse.MIG, GpuUse.EITHER)

# Holds what domains have that no VM accounts for.
NOBODY = ""

_GPU = "gpu:"
_ADDRESS = "ip:"


@atomic
def take_gpus(vm_id: str, org_id: str, node_id: str, device_ids: Sequence[str]) -> list[str]:
    """Take whole GPUs. Gives their device ids. Raises ValidationFailed, or Conflict which says what is free."""
    on_node = {gpu.device_id: gpu for gpu in _usable(node_id)}
    if faults := _device_faults(on_node, device_ids):
        raise ValidationFailed(faults)
    wanted = [on_node[device_id] for device_id in device_ids]
    sliced = [gpu.device_id for gpu in wanted if gpu.use not in WHOLE]
    if sliced:
        raise Conflict(f"{', '.join(sliced)} is for MIG and cannot be passed through. {_free_devices(node_id)}")
    stray = any(gpu.stray_domain for gpu in wanted)
    if stray or not _insert(vm_id, org_id, [key for gpu in wanted for key in gpu_keys(gpu)]):
        held = _taken_slices(wanted, but_by=vm_id)
        names = [gpu.device_id for gpu in wanted if held[gpu.id] or gpu.stray_domain] or list(device_ids)
        verb = "is" if len(names) == 1 else "are"
        raise Conflict(f"{', '.join(names)} of {_node_name(node_id)} {verb} taken. {_free_devices(node_id)}")
    for gpu in sorted(wanted, key=lambda gpu: gpu.id):
        _hold_still(gpu, WHOLE)
    return [gpu.device_id for gpu in wanted]


@atomic
def take_mig(vm_id: str, org_id: str, node_id: str, profile: str) -> str:
    """Take one MIG instance on the fullest card where it fits. Gives `GPU-0:1g.5gb:3`.

    Raises ValidationFailed where no card of the node has this profile, or Conflict which says what is free.
    """
    cards = [gpu for gpu in _usable(node_id) if gpu.use in SLICED]
    if faults := _profile_faults(cards, profile):
        raise ValidationFailed(faults)
    own = [gpu for gpu in cards if not gpu.stray_domain]
    fitting = [(gpu, found) for gpu in own if (found := mig.profile_named(gpu.model, gpu.memory_mb, profile))]
    taken = _taken_slices(own)
    # The sort keeps the order of the devices among cards that are equally full.
    for gpu, found in sorted(fitting, key=lambda pair: -len(taken[pair[0].id])):
        for start in mig.best_starts(found, taken[gpu.id], profiles_of(gpu)):
            # Another may have been faster since the slices were read: then the next placement is tried.
            if _insert(vm_id, org_id, [_slice_key(gpu, number) for number in found.span(start)]):
                _hold_still(gpu, SLICED)
                return f"{gpu.device_id}:{profile}:{start}"
    raise Conflict(f"There is no room for another {profile} on {_node_name(node_id)}. {_free_profiles(own)}")


def faults(node_id: str, device_ids: Sequence[str], profile: str | None) -> list[FieldError]:
    """What a config names of GPUs that the node does not have, by field. Nothing is taken, and whether it is free is
    not looked at."""
    on_node = _usable(node_id)
    found = _device_faults({gpu.device_id: gpu for gpu in on_node}, device_ids)
    if profile is not None:
        found += _profile_faults([gpu for gpu in on_node if gpu.use in SLICED], profile)
    return found


@atomic
def take_address(vm_id: str, org_id: str, segment: str, vlan_id: int | None, address: str) -> None:
    """Take a static address of a network. Raises Conflict; it never says who has it."""
    try:
        Claim(key=address_key(segment, vlan_id, address), vm_id=vm_id, org_id=org_id).save(force_insert=True)
    except IntegrityError as e:
        network = "" if vlan_id is None else f" of VLAN {vlan_id}"
        raise Conflict(f"The address {address}{network} is taken by another VM. Choose another.") from e


@atomic
def give_back(vm_id: str) -> None:
    """Give back all that a VM holds."""
    _give_back(Claim.objects.filter(vm_id=vm_id))


@atomic
def give_back_gpus(vm_id: str) -> None:
    Claim.objects.filter(vm_id=vm_id, key__startswith=_GPU).delete()


@atomic
def give_back_address(vm_id: str) -> None:
    _give_back(Claim.objects.filter(vm_id=vm_id, key__startswith=_ADDRESS))


@atomic
def hold_for_strays() -> None:
    """Have `NOBODY` hold the addresses that are a `StrayAddress`, where no VM does, and none besides.

    Two that do so at once wait for each other at the rows that both know; what only one knows of is not dropped by
    the other, since the claims are read first. A VM that gives one of these back is waited for, or waits.
    """
    _keep_the_strays()
    held = _held_for_nobody()
    keys = _stray_keys()
    _keep(Claim.objects.filter(key__in=keys))
    _drop(NOBODY, held - keys)
    Claim.objects.bulk_create([Claim(key=key, vm_id=NOBODY) for key in sorted(keys)], ignore_conflicts=True)


def held_for_strays() -> tuple[set[str], set[str]]:
    """The keys of the claims of `NOBODY` that there are, and that there are to be."""
    held, keys = _held_for_nobody(), _stray_keys()
    of_vms = Claim.objects.filter(key__in=keys).exclude(vm_id=NOBODY)
    return held, keys - set(of_vms.values_list("key", flat=True))


def held_by_vms(strays: Iterable[StrayAddress]) -> dict[StrayAddress, str]:
    """The ids of the VMs that hold these addresses as well, with their nodes read."""
    keys = {address_key(stray.node.segment, stray.vlan_id, stray.address): stray for stray in strays}
    claims = Claim.objects.filter(key__in=keys).exclude(vm_id=NOBODY)
    return {keys[claim.key]: claim.vm_id for claim in claims}


def _give_back(held: QuerySet[Claim]) -> None:
    """What a VM gives back may be in use by a domain of nobody's, too."""
    _keep_the_strays()  # before anything is deleted for which another may wait
    held.delete()
    if StrayAddress.objects.exists():
        hold_for_strays()


def _keep_the_strays() -> None:
    _keep(StrayAddress.objects.all())


def _keep(rows: QuerySet[Any]) -> None:
    """Nobody else deletes these until the end of the transaction."""
    list(rows.order_by("pk").select_for_update().values_list("pk", flat=True))


def _held_for_nobody() -> set[str]:
    return set(Claim.objects.filter(vm_id=NOBODY).values_list("key", flat=True))


def _stray_keys() -> set[str]:
    strays = StrayAddress.objects.filter(node__deleted_at=None)
    return {address_key(*stray) for stray in strays.values_list("node__segment", "vlan_id", "address")}


def gpu_specs(node_id: str, allocated: Sequence[str]) -> tuple[GpuSpec, ...]:
    """What a backend must know of what was given to a VM: of `GPU-0`, or of `GPU-0:1g.5gb:3`."""
    on_node = {gpu.device_id: gpu for gpu in Gpu.objects.filter(node_id=node_id)} if allocated else {}
    return tuple(_gpu_spec(on_node, text) for text in allocated)


def address_key(segment: str, vlan_id: int | None, address: str) -> str:
    return f"{_ADDRESS}{segment}:{vlan_id or 0}:{address}"


def gpu_keys(gpu: Gpu) -> list[str]:
    """A key for each slice of the card: whoever holds all holds the card."""
    return [_slice_key(gpu, number) for number in range(mig.memory_slices(gpu.model, gpu.memory_mb))]


def gpu_claims(gpus: Collection[Gpu]) -> list[Claim]:
    """All claims on these cards."""
    keys = [key for gpu in gpus for key in gpu_keys(gpu)]
    return list(Claim.objects.filter(key__in=keys)) if keys else []


def is_claimed(gpu: Gpu) -> bool:
    return Claim.objects.filter(key__startswith=f"{_GPU}{gpu.id}:").exists()


def slice_of(claim: Claim) -> tuple[str, int]:
    """The GPU's id and the memory slice that a GPU's claim is for."""
    _, gpu_id, number = claim.key.split(":")
    return gpu_id, int(number)


def profiles_of(gpu: Gpu) -> list[mig.Profile]:
    return mig.profiles_for(gpu.model, gpu.memory_mb)


def in_device_order(gpus: Iterable[Gpu]) -> list[Gpu]:
    """GPU-2 before GPU-10."""
    return sorted(gpus, key=lambda gpu: [int(p) if p.isdecimal() else p for p in re.split(r"([0-9]+)", gpu.device_id)])


def _usable(node_id: str) -> list[Gpu]:
    return in_device_order(Gpu.objects.filter(node_id=node_id, present=True))


def _device_faults(on_node: Collection[str], device_ids: Sequence[str]) -> list[FieldError]:
    unknown = [device_id for device_id in device_ids if device_id not in on_node]
    if not unknown:
        return []
    have = f"It has {', '.join(on_node)}." if on_node else "It has no GPU."
    message = f"The node has no {', '.join(unknown)}. {have}"
    return [FieldError("config.gpuConfig.deviceIds", "not_found", message)]


def _profile_faults(cards: Collection[Gpu], profile: str) -> list[FieldError]:
    offered = list(dict.fromkeys(found.name for gpu in cards for found in profiles_of(gpu)))
    if profile in offered:
        return []
    have = f"It offers {', '.join(offered)}." if offered else "It offers none."
    message = f"No GPU of the node offers the MIG profile {profile}. {have}"
    return [FieldError("config.gpuConfig.migProfile", "not_found", message)]


def _slice_key(gpu: Gpu, number: int) -> str:
    return f"{_GPU}{gpu.id}:{number}"


def _insert(vm_id: str, org_id: str, keys: Collection[str]) -> bool:
    """Claim all of these, or none that was not ours before."""
    before = set(Claim.objects.filter(key__in=keys, vm_id=vm_id).values_list("key", flat=True))
    new = sorted(set(keys) - before)
    Claim.objects.bulk_create([Claim(key=key, vm_id=vm_id, org_id=org_id) for key in new], ignore_conflicts=True)
    if Claim.objects.filter(key__in=new, vm_id=vm_id).count() == len(new):
        return True
    _drop(vm_id, new)
    return False


def _drop(vm_id: str, keys: Collection[str]) -> None:
    Claim.objects.filter(key__in=keys, vm_id=vm_id).delete()


def _hold_still(gpu: Gpu, uses: Collection[str]) -> None:
    """See that the card is still what its slices were counted by. The write makes an operator's change of it wait."""
    unchanged = Gpu.objects.filter(
        pk=gpu.pk,
        model=gpu.model,
        memory_mb=gpu.memory_mb,
        device_id=gpu.device_id,
        present=True,
        stray_domain="",
        use__in=uses,
    )
    if unchanged.update(present=F("present")) != 1:
        raise Conflict(f"{gpu.device_id} was changed in this moment. Try again.")


def _taken_slices(gpus: Collection[Gpu], but_by: str | None = None) -> dict[str, set[int]]:
    taken: dict[str, set[int]] = defaultdict(set)
    for claim in gpu_claims(gpus):
        if claim.vm_id != but_by:
            gpu_id, number = slice_of(claim)
            taken[gpu_id].add(number)
    return taken


def _free_devices(node_id: str) -> str:
    gpus = [gpu for gpu in _usable(node_id) if gpu.use in WHOLE]
    taken = _taken_slices(gpus)
    names = [gpu.device_id for gpu in gpus if not taken[gpu.id] and not gpu.stray_domain]
    return f"Free on this node: {', '.join(names)}." if names else "No GPU of this node is free."


def _free_profiles(cards: Collection[Gpu]) -> str:
    taken = _taken_slices(cards)
    free: Counter[str] = Counter()
    for gpu in cards:
        for profile in profiles_of(gpu):
            free[profile.name] += mig.free_count(profile, taken[gpu.id])
    names = [f"{name} ({count})" for name, count in free.items() if count]
    return f"Free on this node: {', '.join(names)}." if names else "No MIG instance is free on this node."


def _gpu_spec(on_node: dict[str, Gpu], text: str) -> GpuSpec:
    device_id, _, instance = text.partition(":")
    profile, _, start = instance.partition(":")
    gpu = on_node[device_id]
    return GpuSpec(
        device_id=device_id,
        model=gpu.model,
        memory_mb=gpu.memory_mb,
        pci_address=gpu.pci_address,
        profile=profile or None,
        start_slice=int(start) if instance else None,
    )


def _node_name(node_id: str) -> str:
    return Node.objects.values_list("name", flat=True).get(pk=node_id)
