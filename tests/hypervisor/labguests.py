"""Domains for the tests of the lab itself, which use nothing of the product: a template, and virsh."""

import re
import time

from lab.node import Node

_DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>{ram_mb}</memory>
  <vcpu>{vcpus}</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <features><acpi/></features>
  <cpu mode='custom'><model>qemu64</model></cpu>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/><source file='{disk}'/><target dev='vda' bus='virtio'/>
    </disk>
    {seed}
    <controller type='scsi' model='virtio-scsi'/>
    <interface type='bridge'><mac address='{mac}'/><source bridge='{bridge}'/><model type='virtio'/></interface>
    <serial type='pty'><log file='{log}' append='on'/></serial>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    {devices}
  </devices>
</domain>
"""
_SEED = """<disk type='file' device='cdrom'>
      <driver name='qemu' type='raw'/><source file='{path}'/><target dev='sda' bus='scsi'/><readonly/>
    </disk>"""


class Guest:
    """A defined domain of a node, with its disk `<name>.qcow2`, and its log, in the node's pool."""

    def __init__(self, node: Node, name: str, *, vlan_id=None, seed=None, ram_mb=512, vcpus=1, mac="52:54:00:00:00:01",
                 devices=""):  # fmt: skip
        self.node, self.name = node, name
        self.disk = node.pool / f"{name}.qcow2"
        self.log_file = node.pool / f"{name}.log"
        path = node.folder / f"{name}.xml"
        path.write_text(_DOMAIN.format(
            name=name, ram_mb=ram_mb, vcpus=vcpus, disk=self.disk, seed=_SEED.format(path=seed) if seed else "",
            bridge=node.lan(vlan_id).bridge, log=self.log_file, mac=mac, devices=devices,
        ))  # fmt: skip
        node.virsh("define", str(path))

    def start(self):
        self.node.virsh("start", self.name)

    def state(self):
        return self.node.virsh("domstate", self.name).strip()

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def wait_for_boot(self, times=1, within_s=180):
        wait(lambda: len(re.findall(" finished at .*\n", self.log())) >= times, within_s)

    def remove(self):
        if self.state() != "shut off":
            self.node.virsh("destroy", self.name)
        self.node.virsh("undefine", self.name)
        self.disk.unlink(missing_ok=True)
        self.log_file.unlink(missing_ok=True)


def wait(until, within_s=10.0):
    """How long it took, in seconds."""
    began = time.monotonic()
    while not until():
        assert time.monotonic() < began + within_s, f"It did not come within {within_s} s"
        time.sleep(0.02)
    return time.monotonic() - began
