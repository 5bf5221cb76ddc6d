"""Nodes and what they have: GPUs, networks, images, and the claims on them."""

from django.db import models

from accounts.models import Organization
from common.fields import ObjectIdField, object_id_key


class NodeManager(models.Manager["Node"]):
    """The nodes that are there. A deleted one is found through the rows that name it alone."""

    def get_queryset(self) -> models.QuerySet["Node"]:
        return super().get_queryset().filter(deleted_at=None)


class DomainType(models.TextChoices):
    KVM = "kvm", "KVM"
    QEMU = "qemu", "QEMU, in software"


class Node(models.Model):
    """A hypervisor. `cap_*` is what it has, `used_*` what is promised of it (changed only by `nodes.room`).

    `vcpu_overcommit` is how many vCPUs may be promised for each that the node has. `enabled` off is maintenance: no
    new VMs. `online` is what the last sweep saw; `lost` is an operator's word that it will not come back as it was;
    `to_compare` says that its domains were not looked at since this was taken back, or since it was added.
    `pool` to `cpu_mode` are how VMs are put on it, see `vmbackends.base.NodeSettings`; `probed_*`, `capabilities` and
    `hypervisor`, the versions of its software by their names, are what it said itself when it was last asked, see
    `vmbackends.base.NodeReport`. A deleted one keeps its row, because those of deleted VMs name it; nothing is promised
    of it any more.
    """

    id = object_id_key()
    name = models.CharField(max_length=100, unique=True)
    hostname = models.CharField(max_length=253)
    segment = models.CharField(max_length=60, default="default", help_text="nodes on one switch share it")
    uri = models.CharField(max_length=500, blank=True, default="", help_text="libvirt connection URI")
    pool = models.CharField(max_length=60, default="aiwm")
    bridge = models.CharField(max_length=20, default="br{vlan}")
    untagged_bridge = models.CharField(max_length=15, default="br0")
    openvswitch = models.BooleanField(default=False)
    domain_type = models.CharField(max_length=4, choices=DomainType, blank=True, default="")
    cpu_mode = models.CharField(max_length=60, blank=True, default="")
    probed_domain_type = models.CharField(max_length=4, blank=True, default="", editable=False)
    probed_cpu_mode = models.CharField(max_length=60, blank=True, default="", editable=False)
    hypervisor = models.JSONField(default=dict, editable=False)
    capabilities = models.JSONField(null=True, editable=False)
    enabled = models.BooleanField(default=True)
    online = models.BooleanField(default=False, editable=False)
    lost = models.BooleanField(default=False, editable=False)
    to_compare = models.BooleanField(default=False, db_default=False, editable=False)
    cap_vcpus = models.PositiveIntegerField(default=0)
    cap_ram_mb = models.PositiveBigIntegerField(default=0)
    cap_disk_gb = models.PositiveBigIntegerField(default=0)
    vcpu_overcommit = models.FloatField(default=1.0)
    used_vcpus = models.PositiveIntegerField(default=0, editable=False)
    used_ram_mb = models.PositiveBigIntegerField(default=0, editable=False)
    used_disk_gb = models.PositiveBigIntegerField(default=0, editable=False)
    boot_id = models.CharField(max_length=64, blank=True, default="", editable=False)
    last_seen = models.DateTimeField(null=True, editable=False)
    strays = models.JSONField(default=dict, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True, editable=False)

    objects = NodeManager()

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def status(self) -> str:
        if self.lost:
            return "lost"
        if not self.enabled or self.to_compare:
            return "maintenance"
        return "online" if self.online else "offline"

    @property
    def vcpu_limit(self) -> int:
        return int(self.cap_vcpus * self.vcpu_overcommit)


class GpuUse(models.TextChoices):
    PASSTHROUGH = "passthrough"
    MIG = "mig"
    EITHER = "either"  # for the mock alone


class Gpu(models.Model):
    """A board. `device_id` is its name on the node (`GPU-0`), `pci_address` the whole domain:bus:slot.function.

    `present` off: the node was asked and does not have it any more. It is given to nobody until it is back, and no more
    while it is a device of `stray_domain`, which no VM accounts for: see `nodes.devices`.
    """

    id = object_id_key()
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="gpus")
    device_id = models.CharField(max_length=40)
    model = models.CharField(max_length=60)
    memory_mb = models.PositiveIntegerField()
    pci_address = models.CharField(max_length=20)
    use = models.CharField(max_length=12, choices=GpuUse.choices, default=GpuUse.PASSTHROUGH)
    present = models.BooleanField(default=True, editable=False)
    stray_domain = models.CharField(max_length=255, blank=True, default="", editable=False)

    class Meta:
        ordering = ("node", "device_id")
        constraints = (models.UniqueConstraint(fields=("node", "device_id"), name="gpu_once_a_node"),)
        verbose_name = "GPU"

    def __str__(self) -> str:
        return self.device_id


class Firmware(models.TextChoices):
    BIOS = "bios", "BIOS"
    UEFI = "uefi", "UEFI"


class DeviceModel(models.TextChoices):
    VIRTIO = "virtio"
    SATA = "sata", "SATA and e1000e"


class Ready(models.TextChoices):
    AGENT = "agent", "guest agent"
    CLOUD_INIT = "cloud-init", "cloud-init on the serial console"
    POWER = "power", "that it stays on"


class StrayAddress(models.Model):
    """An address that a domain of the node was given which no VM accounts for: see `nodes.devices`."""

    id = object_id_key()
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="stray_addresses")
    vlan_id = models.PositiveSmallIntegerField(help_text="0 for the untagged network")
    address = models.GenericIPAddressField(protocol="IPv4")
    domain = models.CharField(max_length=255)

    class Meta:
        ordering = ("node", "vlan_id", "address")
        constraints = (models.UniqueConstraint(fields=("node", "vlan_id", "address"), name="address_once_a_node"),)
        verbose_name_plural = "stray addresses"

    def __str__(self) -> str:
        return self.address


class Image(models.Model):
    """An OS image that operators keep for nodes: a qcow2 file, and how its guests want to be run.

    Where there is none of a name, images are what a node's operator or its backend says, and a spec has none. See
    `vmbackends.base.ImageSpec` for `firmware` to `ready`. `size_bytes` is the file's length, `virtual_bytes` the size
    of the disk in it. `volume` is the file's name, here and on nodes; it follows from what is in the file, so that
    disks that came of an older one keep theirs.
    """

    id = object_id_key()
    os_image = models.CharField(max_length=40, unique=True)
    volume = models.CharField(max_length=100)
    sha256 = models.CharField(max_length=64)
    size_bytes = models.PositiveBigIntegerField()
    virtual_bytes = models.PositiveBigIntegerField()
    firmware = models.CharField(max_length=4, choices=Firmware, default=Firmware.BIOS)
    device_model = models.CharField(max_length=6, choices=DeviceModel, default=DeviceModel.VIRTIO)
    tpm = models.BooleanField(default=False, verbose_name="TPM")
    ready = models.CharField(max_length=10, choices=Ready, default=Ready.AGENT)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("os_image",)

    def __str__(self) -> str:
        return self.os_image

    @property
    def least_disk_gb(self) -> int:
        """The smallest disk that takes it, in GiB."""
        return -(-self.virtual_bytes // 1024**3)


class NodeImage(models.Model):
    """An OS image that a node has. `os_image` is the value of the API's enum."""

    id = object_id_key()
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="images")
    os_image = models.CharField(max_length=40)
    # What operators keep under this name, if they do: no column and no constraint of the database, only a way to join.
    kept = models.ForeignObject(
        "nodes.Image", models.DO_NOTHING, from_fields=["os_image"], to_fields=["os_image"], null=True,
        related_name="+",
    )  # fmt: skip

    class Meta:
        ordering = ("node", "os_image")
        constraints = (models.UniqueConstraint(fields=("node", "os_image"), name="image_once_a_node"),)

    def __str__(self) -> str:
        return self.os_image


class Network(models.Model):
    """A VLAN of a segment and whose it is. `vlan_id` 0 is the untagged network."""

    id = object_id_key()
    segment = models.CharField(max_length=60, default="default")
    vlan_id = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=100)
    subnet = models.CharField(max_length=18, blank=True, default="", help_text="IPv4, as 192.168.100.0/24")
    gateway = models.GenericIPAddressField(protocol="IPv4", null=True, blank=True)
    organizations = models.ManyToManyField(Organization, blank=True, related_name="networks")

    class Meta:
        ordering = ("segment", "vlan_id")
        constraints = (models.UniqueConstraint(fields=("segment", "vlan_id"), name="vlan_once_a_segment"),)

    def __str__(self) -> str:
        return f"{self.name} (VLAN {self.vlan_id} of {self.segment})"


class Claim(models.Model):
    """One thing that one VM holds, or a `StrayAddress`, with no VM's id. The primary key is the invariant: a second
    holder cannot be written.

    `gpu:<gpu id>:<memory slice>`, eight rows a card of seven slices, or `ip:<segment>:<vlan or 0>:<address>`.
    """

    key = models.CharField(primary_key=True, max_length=160)
    vm_id = ObjectIdField(db_index=True)
    org_id = ObjectIdField(default="")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.key


def unreachable_node_ids() -> set[str]:
    """Nodes whose tasks wait: those that the last sweep did not see, and lost ones, which are left alone."""
    return set(Node.objects.filter(models.Q(online=False) | models.Q(lost=True)).values_list("id", flat=True))
