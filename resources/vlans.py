"""Whether a VM may still be on its network: an operator may have given it to others since the VM was made."""

from common.errors import Conflict
from nodes import networks
from resources.models import VirtualMachine


def refusal(vm: VirtualMachine) -> str | None:
    """Why this VM may not be put on its network now, for its users; None where it may."""
    vlan_id = vm.config.network_config.vlan_id
    if networks.is_open(vm.organization_id, vm.node.segment, vlan_id):
        return None
    name = "The untagged network" if vlan_id is None else f"VLAN {vlan_id}"
    return (
        f"{name} is not open to this VM's organization any more. Stop the VM and change its network, or ask an "
        "operator to open it."
    )


def require_open(vm: VirtualMachine) -> None:
    """Raises Conflict where the VM may not be put on its network."""
    why = refusal(vm)
    if why is not None:
        raise Conflict(why)
