"""What the demo has, as data: organizations, people, nodes and VMs. `manage.py seed_demo` writes it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from resources.states import Status

DEMO_ORG_ID = "675a1b2c3d4e5f6a7b8c9d0c"
DEMO_USER_ID = "675a1b2c3d4e5f6a7b8c9d0d"
GPU_NODE_ID = "675a1b2c3d4e5f6a7b8c9d0e"

# (user name and password, role, organization, operator)
PEOPLE = (
    ("demo", "member", "Demo", False),
    ("viewer", "viewer", "Demo", False),
    ("other", "member", "Other", False),
    ("admin", "admin", "Operators", True),
)

QUOTA = {
    "quota_vms": 200,
    "quota_vcpus": 512,
    "quota_ram_mb": 2 * 1024 * 1024,
    "quota_disk_gb": 20 * 1024,
    "quota_gpus": 8,
    "quota_mig_instances": 64,
}


@dataclass(frozen=True)
class DemoNode:
    id: str
    name: str
    online: bool
    gpus: int = 0
    vcpus: int = 128
    ram_gb: int = 1024
    disk_tb: int = 20


NODES = (
    DemoNode(GPU_NODE_ID, "worker-gpu-01", online=True, gpus=4),
    DemoNode("675a1b2c3d4e5f6a7b8c9d0f", "worker-02", online=True),
    DemoNode("675a1b2c3d4e5f6a7b8c9d10", "worker-03", online=False, vcpus=64, ram_gb=512, disk_tb=10),
)


@dataclass(frozen=True)
class DemoVm:
    """`age` is how long ago it was created; one that runs was started soon after."""

    name: str
    owner: str
    node: str
    status: Status
    os_image: str
    vcpus: int
    ram_gb: int
    disk_gb: int
    address: str | None
    age: timedelta
    description: str = ""
    error: str = ""
    snapshots: tuple[str, ...] = ()

    @property
    def config(self) -> dict[str, Any]:
        network: dict[str, Any] = {"mode": "bridge-vlan", "ipMode": "dhcp"}
        if self.address:
            network |= {
                "ipMode": "static",
                "ipAddress": self.address,
                "netmask": "255.255.255.0",
                "gateway": self.address.rsplit(".", 1)[0] + ".1",
            }
        network["vlanId"] = 200
        return {
            "type": "virtual-machine",
            "osImage": self.os_image,
            "vcpus": self.vcpus,
            "ramMB": self.ram_gb * 1024,
            "diskGB": self.disk_gb,
            "networkConfig": network,
            "cloudInit": {"hostname": self.name.lower().replace(" ", "-").replace(".", "-")},
        }


_H, _D = timedelta(hours=1), timedelta(days=1)

# None is on worker-gpu-01 or in 192.168.100.0/24: its GPUs and addresses are for whoever tries things.
VMS = (
    DemoVm("Build runner", "demo", "worker-02", Status.RUNNING, "ubuntu-22.04", 8, 32, 200, "192.168.200.11", 9 * _D,
           "CI jobs of the platform team", snapshots=("Clean install", "Before runner upgrade")),
    DemoVm("Staging database", "demo", "worker-02", Status.RUNNING, "debian-12", 16, 64, 500, "192.168.200.12", 6 * _D,
           "PostgreSQL for staging", snapshots=("Before migration",)),
    DemoVm("Wiki", "demo", "worker-02", Status.RUNNING, "debian-11", 2, 4, 40, "192.168.200.13", 30 * _D),
    DemoVm("Old reports", "demo", "worker-02", Status.STOPPED, "centos-7", 4, 8, 100, "192.168.200.14", 60 * _D,
           "Legacy reports, kept for the auditors", snapshots=("Last good state",)),
    DemoVm("Load test", "demo", "worker-02", Status.QUEUED, "ubuntu-22.04", 32, 64, 100, None, 2 * _H),
    DemoVm("Nightly import", "demo", "worker-02", Status.FAILED, "ubuntu-20.04", 4, 16, 100, "192.168.200.15", 5 * _H,
           error="worker-02: the pool had no space for a disk of 100 GB. Free some, then start the VM again."),
    DemoVm("Edge cache", "demo", "worker-03", Status.DEPLOYING, "debian-12", 4, 8, 80, "192.168.200.16", _H,
           "Waits for its node to come back"),
    DemoVm("Mail relay", "demo", "worker-03", Status.STOPPING, "debian-12", 2, 4, 40, "192.168.200.17", 12 * _D),
    DemoVm("Directory", "other", "worker-02", Status.RUNNING, "windows-server-2022", 8, 32, 250, "192.168.200.31",
           20 * _D, "Active Directory"),
    DemoVm("Render farm head", "other", "worker-02", Status.RUNNING, "ubuntu-22.04", 8, 16, 200, "192.168.200.32",
           3 * _D),
    DemoVm("Billing", "other", "worker-02", Status.ERROR, "windows-server-2019", 8, 32, 300, "192.168.200.33", 45 * _D,
           error="The guest crashed: it stopped with a kernel fault. Look at its logs, then restart it."),
    DemoVm("Archive", "other", "worker-02", Status.STOPPED, "centos-8", 4, 8, 1000, "192.168.200.34", 90 * _D),
    DemoVm("Sandbox", "other", "worker-02", Status.QUEUED, "ubuntu-22.04", 2, 4, 40, None, 3 * _H),
    DemoVm("Telemetry", "other", "worker-03", Status.RUNNING, "debian-12", 4, 16, 200, "192.168.200.35", 15 * _D,
           "Its node is offline: what it does is not known"),
    DemoVm("Jump host", "other", "worker-02", Status.RUNNING, "debian-12", 1, 2, 20, "192.168.200.36", 7 * _D),
)  # fmt: skip
