"""The request that the API's guide gives as its example, to the letter: it must always work."""

from typing import Any

GUIDE_BODY: dict[str, Any] = {
    "name": "Dev VM Ubuntu 22.04",
    "description": "Development VM with GPU passthrough",
    "resourceType": "virtual-machine",
    "nodeId": "675a1b2c3d4e5f6a7b8c9d0e",
    "config": {
        "type": "virtual-machine",
        "osImage": "ubuntu-22.04",
        "vcpus": 8,
        "ramMB": 32768,
        "diskGB": 100,
        "gpuConfig": {"enabled": True, "mode": "passthrough", "deviceIds": ["GPU-0", "GPU-1"]},
        "networkConfig": {
            "mode": "bridge-vlan",
            "ipMode": "static",
            "ipAddress": "192.168.100.10",
            "netmask": "255.255.255.0",
            "gateway": "192.168.100.1",
            "vlanId": 100,
        },
        "cloudInit": {
            "hostname": "dev-vm-01",
            "sshPublicKey": "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC...",
            "username": "ubuntu",
        },
    },
}
