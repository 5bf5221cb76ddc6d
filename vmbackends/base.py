"""The interface between AIWM and whatever runs the VMs, and the plain data that crosses it.

A backend takes and gives frozen dataclasses and knows no database. Every method may be repeated: `create_disk`
of a disk that is there, `start` of a domain that runs and `undefine` of one that is gone succeed and change nothing.
Only workers and operators' commands call a backend, except for what `Capabilities.local_reads` allows.

Units: RAM in MiB (`ram_mb`), disks in GiB (`disk_gb`), sizes of snapshots in bytes, times in UTC.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from vmbackends.errors import NotSupported
from vmbackends.pci import PciAddress


@dataclass(frozen=True)
class NodeSettings:
    """How VMs are put on a node; its operator says so, and `nodes check` whether it is so.

    `pool` is the storage pool for disks, seeds and images. `bridge` is, with `openvswitch`, the one bridge that takes
    VLANs as tags, and else the pattern of one Linux bridge for each VLAN, as `br{vlan}`; `untagged_bridge` is the one
    for VMs without a VLAN. `domain_type` ("kvm" or "qemu") and `cpu_mode` (of libvirt's `<cpu>`, or the name of a CPU
    model) are the operator's word, else the last probe's, and empty where neither has said any.
    """

    pool: str = "aiwm"
    bridge: str = "br{vlan}"
    untagged_bridge: str = "br0"
    openvswitch: bool = False
    domain_type: str = ""
    cpu_mode: str = ""


@dataclass(frozen=True)
class NodeRef:
    """A hypervisor. `uri` is a libvirt connection URI: https://libvirt.org/uri.html"""

    id: str
    name: str
    uri: str = ""
    settings: NodeSettings = NodeSettings()


@dataclass(frozen=True)
class GpuSpec:
    """A whole GPU (`profile` is None), or one MIG instance of it at a memory slice."""

    device_id: str
    model: str
    memory_mb: int
    pci_address: str
    profile: str | None = None
    start_slice: int | None = None


@dataclass(frozen=True)
class NetworkSpec:
    """The one interface. With `ip_mode` "dhcp" the three addresses are None. `vlan_id` None is untagged."""

    mac: str
    vlan_id: int | None
    ip_mode: str
    ip_address: str | None = None
    netmask: str | None = None
    gateway: str | None = None


@dataclass(frozen=True)
class CloudInitSpec:
    hostname: str | None = None
    ssh_public_key: str | None = None
    username: str | None = None


@dataclass(frozen=True)
class ImageSpec:
    """An OS image, as a node has it and as its guests want to be run.

    `volume` is its name in the node's pool, of the format qcow2, and `size_bytes` how long its file is when it is there
    whole; None takes it as it is. `firmware` is "bios" or "uefi", `device_model`
    "virtio" or "sata" (with an e1000e for the network). `ready` says by what a booted guest is told: "agent" by its
    guest agent, "cloud-init" by what cloud-init writes to the serial console when it is done, "power" by nothing but
    that it stays on.
    """

    volume: str
    firmware: str = "bios"
    device_model: str = "virtio"
    tpm: bool = False
    windows: bool = False
    ready: str = "agent"
    size_bytes: int | None = None


@dataclass(frozen=True)
class PowerIntent:
    """What the power should be, and the moment since which it should be so."""

    on: bool
    since: datetime


@dataclass(frozen=True)
class VmSpec:
    """All that a node must know of a VM. The domain is named `vm-<id>`. `image` is None where no operator keeps any."""

    id: str
    name: str
    organization: str
    os_image: str
    vcpus: int
    ram_mb: int
    disk_gb: int
    network: NetworkSpec
    power: PowerIntent
    gpus: tuple[GpuSpec, ...] = ()
    cloud_init: CloudInitSpec | None = None
    image: ImageSpec | None = None

    @property
    def domain_name(self) -> str:
        return f"vm-{self.id}"


@dataclass(frozen=True)
class Secret:
    """A password for the seed: a crypt(3) hash for Linux, in clear for Windows. Never printed."""

    value: str = field(repr=False)
    hashed: bool


class Power(Enum):
    MISSING = "missing"  # the node knows no such domain
    OFF = "off"
    RUNNING = "running"
    PAUSED = "paused"
    CRASHED = "crashed"


@dataclass(frozen=True)
class DomainState:
    """A domain as its node sees it. `booted` is False while a running guest is not yet up.

    `reason` says in words why it is paused, crashed or off; `ip_address` is one seen on its interface.
    """

    power: Power
    booted: bool = False
    reason: str = ""
    ip_address: str | None = None


@dataclass(frozen=True)
class GpuReport:
    device_id: str
    model: str
    memory_mb: int
    pci_address: str


@dataclass(frozen=True)
class ImageReport:
    """A volume of the node's pool that could be an OS image. `size_bytes` is the length of its file."""

    volume: str
    size_bytes: int


@dataclass(frozen=True)
class Lack:
    """Something without which the node cannot run VMs as its settings say, and how its operator mends it."""

    what: str
    mend: str


@dataclass(frozen=True)
class NodeReport:
    """What a node is and has. None for what it cannot tell: nothing is invented.

    `os_images` is for a backend that knows images by their name, `images` for one that finds them as volumes.
    `domain_type` and `cpu_mode` are what guests come up with: what the node's settings say where they say any, else the
    best that works. `capabilities` are those of "uefi" and "tpm" that its guests can have. `lacks` stand in the order
    in which they are to be mended.
    """

    boot_id: str
    vcpus: int | None = None
    ram_mb: int | None = None
    disk_gb: int | None = None
    os_images: tuple[str, ...] | None = None
    images: tuple[ImageReport, ...] | None = None
    gpus: tuple[GpuReport, ...] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    domain_type: str | None = None
    cpu_mode: str | None = None
    capabilities: tuple[str, ...] | None = None
    lacks: tuple[Lack, ...] = ()


@dataclass(frozen=True)
class Observation:
    """One bulk look at a node: the state of each VM asked for, by id.

    `foreign` names domains that are not ours. `unasked` has, by the ids of VMs that were not asked for, the names of
    the domain and volumes that are there of them. `images` are the volumes that have a pushed image's name, `diskless`
    the ids of VMs that were asked for and whose disk is not there.

    `faults` say what could not be looked at, in sentences for operators: the pool, where `volumes_seen` is False and
    no volume is among the names, and the boot id, which is empty then.
    """

    boot_id: str
    domains: Mapping[str, DomainState]
    foreign: tuple[str, ...] = ()
    unasked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    diskless: tuple[str, ...] = ()
    volumes_seen: bool = True
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Devices:
    """What domains were given, each with the name of whose it is: PCI devices, and IPv4 addresses on their interfaces
    by VLAN, 0 for the untagged network, and address."""

    pci: Mapping[PciAddress, str] = field(default_factory=dict)
    addresses: Mapping[tuple[int, str], str] = field(default_factory=dict)


@dataclass(frozen=True)
class GpuMetrics:
    """`utilization` in percent, memory in MiB, `temperature` in degrees Celsius."""

    device_id: str
    utilization: float
    memory_used_mb: int
    memory_total_mb: int
    temperature: int


@dataclass(frozen=True)
class Metrics:
    """One sample. None where the backend cannot know, with the reason in `unavailable` under the member's name
    (`cpu`, `memory`, `disk`, `gpu`, `network`). `cpu_usage` is percent of all vCPUs; bytes count since the start."""

    timestamp: datetime
    cpu_usage: float | None = None
    memory_used_mb: int | None = None
    disk_used_gb: float | None = None
    gpus: tuple[GpuMetrics, ...] = ()
    rx_bytes: int | None = None
    tx_bytes: int | None = None
    unavailable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LogLine:
    """`level` is debug, info, warning or error."""

    timestamp: datetime
    level: str
    message: str


@dataclass(frozen=True)
class ConsoleTail:
    """The newest lines of a guest's serial console, oldest first, and how long all of it was when it was read.

    Not `dated`: nothing that was read says when its guest was started, so that the lines are at least as old as told.
    """

    size_bytes: int
    lines: tuple[LogLine, ...]
    dated: bool = True


@dataclass(frozen=True)
class SnapshotSpec:
    """`with_memory`: taken while the VM ran, so that a restore brings it back running."""

    id: str
    name: str
    with_memory: bool
    created_at: datetime


@dataclass(frozen=True)
class Fault:
    """Something in a spec that this backend will not take. `field` is the API's path below `config`."""

    field: str
    message: str
    code: str = "invalid"


@dataclass(frozen=True)
class Capabilities:
    """`local_reads`: logs and metrics are computed without reaching a node, so that the web process may ask.
    `instant_snapshots`: a snapshot costs nothing and is complete when asked for."""

    local_reads: bool = False
    instant_snapshots: bool = False


class Backend(ABC):
    """A way to run VMs. Built once a process from `VM_BACKEND`'s `OPTIONS`."""

    capabilities = Capabilities()

    def __init__(self, **options: Any) -> None:
        if options:
            raise ValueError(f"{type(self).__name__} knows no option {', '.join(sorted(options))}")

    def check(self, spec: VmSpec) -> Sequence[Fault]:
        """Faults of a spec that the API's schema lets pass. Reaches no node."""
        return ()

    # The node

    @abstractmethod
    def probe(self, node: NodeRef) -> NodeReport:
        """What the node is and has. Raises NodeUnreachable."""

    @abstractmethod
    def observe(self, node: NodeRef, vms: Sequence[VmSpec]) -> Observation:
        """The state of all of these VMs in one call. Raises NodeUnreachable, or Refused where not even the domains can
        be seen."""

    def devices_of_others(self, node: NodeRef, vm_ids: Collection[str]) -> Devices:
        """What domains on the node were given which are none of these VMs'. Raises NodeUnreachable."""
        return Devices()

    def watch(self, node: NodeRef, notice: Callable[[], None]) -> bool:
        """Call `notice` when the power of a domain there changes, from whatever thread. Gives whether it will.

        The first call for a node counts, for as long as the process lives. What is missed is seen by the next look.
        """
        return False

    def domain(self, node: NodeRef, vm: VmSpec) -> DomainState:
        """The state of one VM. Raises NodeUnreachable."""
        return self.observe(node, [vm]).domains[vm.id]

    def power(self, node: NodeRef, vm: VmSpec) -> Power:
        """Of one VM, and nothing is asked of its guest, which may be on its way down. Raises NodeUnreachable."""
        return self.domain(node, vm).power

    # Images

    def push_image(self, node: NodeRef, image: ImageSpec, file: Path, progress: Callable[[int], None]) -> None:
        """Put a qcow2 file into the node's pool as `image.volume`; changes nothing where one of its size is there.

        `progress` is told, as it goes, how many bytes of the file have been sent in all. No volume of that name is
        left behind half-written, and none is removed that a disk is backed by. Raises NodeUnreachable, Refused,
        NotSupported, and OSError for a file that cannot be read.
        """
        raise NotSupported(f"{type(self).__name__} keeps no image files: node {node.name} can be sent none.")

    def remove_image(self, node: NodeRef, volume: str) -> None:
        """Remove an image's volume. Raises Refused where a disk is backed by it or a domain runs on it,
        NodeUnreachable, NotSupported."""
        raise NotSupported(f"{type(self).__name__} keeps no image files: node {node.name} has none to remove.")

    # Disks and definition

    @abstractmethod
    def create_disk(self, node: NodeRef, vm: VmSpec) -> None:
        """Clone the image and grow it to `disk_gb`; grow one that is there. Never shrinks. Raises Refused where the
        image is not there whole."""

    @abstractmethod
    def grow_disk(self, node: NodeRef, vm: VmSpec) -> None:
        """Grow the VM's disk to `disk_gb`. Raises Refused where it is gone: a new one would be an empty one."""

    @abstractmethod
    def delete_disks(self, node: NodeRef, vm: VmSpec) -> None:
        """Remove the VM's disk, seed and whatever else is its own on the node. Raises Busy where something of it can
        be removed only later."""

    @abstractmethod
    def write_seed(self, node: NodeRef, vm: VmSpec, secret: Secret | None) -> None:
        """Write the cloud-init seed, over one that is there."""

    @abstractmethod
    def remove_seed(self, node: NodeRef, vm: VmSpec) -> None:
        """Detach and remove the seed."""

    @abstractmethod
    def define(self, node: NodeRef, vm: VmSpec) -> None:
        """Define the domain as the spec says, over an older definition."""

    @abstractmethod
    def undefine(self, node: NodeRef, vm: VmSpec) -> None:
        """Remove the definition with its snapshots' metadata. The domain must be off."""

    # Power

    @abstractmethod
    def start(self, node: NodeRef, vm: VmSpec, *, begun: bool = False) -> bool:
        """Power on. False while it works, as where much memory is pinned: ask again, and say that it was `begun`.

        Raises Refused where it cannot be, also where one that was begun has failed since, whichever worker began it.
        """

    @abstractmethod
    def shutdown(self, node: NodeRef, vm: VmSpec) -> None:
        """Ask the guest to shut down; returns at once, whether it will or not."""

    @abstractmethod
    def power_off(self, node: NodeRef, vm: VmSpec) -> None:
        """Cut the power; returns when the domain is off or gone."""

    # Snapshots

    def snapshot_refusal(self, vm: VmSpec, with_memory: bool) -> str | None:
        """Why this VM can have no such snapshot, or None. Reaches no node."""
        return None

    @abstractmethod
    def create_snapshot(self, node: NodeRef, vm: VmSpec, snapshot: SnapshotSpec) -> int | None:
        """Take it, or find it by its id if it is there. Gives its size in bytes, None while it works: ask again.

        Of one `with_memory` that is 0 where the guest was off by then.
        """

    @abstractmethod
    def restore_snapshot(self, node: NodeRef, vm: VmSpec, snapshot: SnapshotSpec, asked_at: datetime) -> bool:
        """Bring the VM back to it. False while it works: ask again.

        With memory it then is in the power state of `vm.power`; without, it is off, and to be started where that is on.

        `asked_at` tells one restore from another: repeated with the same, it goes back no second time once the guest
        has run on. Raises Untouched where it refuses before it has changed anything in this call, and Refused where the
        guest may have lost its power or gone back.
        """

    @abstractmethod
    def delete_snapshot(self, node: NodeRef, vm: VmSpec, snapshot: SnapshotSpec) -> bool:
        """Remove it. False while it works: ask again. Raises Refused where it is on the disk and no domain is defined
        that could let go of it."""

    # Watching

    @abstractmethod
    def metrics(self, node: NodeRef, vms: Sequence[VmSpec]) -> Mapping[str, Metrics]:
        """A sample of each VM that runs, by id, in one call. Raises NodeUnreachable."""

    def console_tails(
        self, node: NodeRef, vms: Mapping[VmSpec, int | None], most_lines: int
    ) -> Mapping[str, ConsoleTail]:
        """The consoles of these VMs, by id, that have not the length that they are given with. Raises NodeUnreachable.

        For a backend whose guest logs only workers can read.
        """
        return {}

    @abstractmethod
    def guest_log(self, node: NodeRef, vm: VmSpec, since: datetime | None, limit: int) -> Sequence[LogLine]:
        """The newest `limit` lines of the guest's own log since then, oldest first."""
