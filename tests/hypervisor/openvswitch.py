"""Open vSwitch on a lab node, in its userspace datapath, which needs no module of the kernel."""

from pathlib import Path

from lab.node import Node
from tests.hypervisor.unpacked import unpacked

BRIDGE = "ovsbr0"
_PACKAGES = ["openvswitch-switch", "openvswitch-common", "libevent-2.1-7", "libnuma1", "libunbound8", "libxdp1"]
_PROGRAMS = {
    "ovsdb-tool": "usr/bin",
    "ovsdb-server": "usr/sbin",
    "ovs-vsctl": "usr/bin",
    "ovs-ofctl": "usr/bin",
    "ovs-vswitchd": "usr/lib/openvswitch-switch",
}
# In the node it hides a folder of the machine that is empty on most, and first in the path of all.
_BIN = "/usr/local/sbin"


def start(node: Node) -> None:
    """Run it on the node until that is off, with a bridge and with ports `gw<vlan>` by which the node is on VLANs."""
    files = unpacked("openvswitch", _PACKAGES)
    state = node.run_folder / "ovs"
    state.mkdir()
    _put_programs(node, files, state)
    db, socket = state / "conf.db", state / "db.sock"
    node.run("ovsdb-tool", "create", db, files / "usr/share/openvswitch/vswitch.ovsschema")
    node.run("ovsdb-server", db, f"--remote=punix:{socket}", "--detach", "--pidfile", "--log-file=/dev/null")
    node.run("ovs-vsctl", "--no-wait", "init")
    node.run("ovs-vswitchd", f"unix:{socket}", "--detach", "--pidfile", f"--log-file={state}/vswitchd.log")
    node.run("ovs-vsctl", "add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev")
    for vlan_id in (100, 200):
        port = f"gw{vlan_id}"
        node.run(
            "ovs-vsctl", "add-port", BRIDGE, port, f"tag={vlan_id}", "--", "set", "interface", port, "type=internal"
        )
        node.run("ip", "link", "set", port, "up")


def _put_programs(node: Node, files: Path, state: Path) -> None:
    """Where libvirtd and its hook find them, with their libraries and sockets."""
    programs = node.folder / "ovs"
    programs.mkdir(exist_ok=True)
    for name, folder in _PROGRAMS.items():
        libraries = files / "usr/lib/x86_64-linux-gnu"
        (programs / name).write_text(
            f'#!/bin/sh\nexport OVS_RUNDIR={state} LD_LIBRARY_PATH={libraries}\nexec {files / folder / name} "$@"\n'
        )
        (programs / name).chmod(0o755)
    node.run("mount", "--bind", programs, _BIN)
