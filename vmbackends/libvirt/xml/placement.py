"""What of its node a domain needs to know."""

from dataclasses import dataclass

from vmbackends.base import NodeSettings


@dataclass(frozen=True)
class Placement:
    """A domain's place on its node.

    `domain_type` is "kvm" or "qemu"; `cpu_mode` is "host-model", "host-passthrough", "maximum", the name of a CPU model
    such as "qemu64", or empty for the hypervisor's own default. Paths are the node's. `filter_name` is the nwfilter of
    the interface; libvirt starts no domain with one on an Open vSwitch bridge.
    """

    domain_type: str
    cpu_mode: str
    disk_path: str
    console_path: str
    seed_path: str | None
    settings: NodeSettings
    filter_name: str | None = None
