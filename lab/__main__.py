"""Hypervisors to try AIWM on: `python -m lab serve`, `up`, `down`, `status`, `images`, `packages`, `possible`.

They are below AIWM_LAB, by default var/lab, and run until `down`, which deletes them and the disks in them; only the
cache of built images stays.
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from . import packages, site
from .debian import debian
from .guest import tiny
from .node import Node
from .places import lab_folder
from .shell import CommandFailed

NAMES = ("lab-1", "lab-2")


def nodes() -> list[Node]:
    return [Node(name, lab_folder() / name) for name in NAMES]


def up() -> None:
    """Start the nodes."""
    packages.install()
    for node in nodes():
        node.start()
    status()


def down() -> None:
    """Stop the nodes and delete them with their disks, and the site on them."""
    packages.check()
    site.remove()
    for node in nodes():
        node.remove()
    print("The lab's nodes are gone.")


def status() -> None:
    """Show the nodes, their URIs and networks."""
    packages.check()  # what runs in a node, only root sees
    for node in nodes():
        print(f"{node.name}  {_state(node)}")
        if node.running:
            print(f"  {node.uri}")
            for lan in node.lans:
                name = f"VLAN {lan.vlan_id}" if lan.vlan_id else "no VLAN; by DHCP, and the address is in the VM's logs"
                print(f"  {lan.bridge:6} {lan.network}, gateway {lan.gateway}  ({name})")


def images() -> None:
    """Build the images of guests, and say where they are."""
    packages.install()
    for build in (tiny, debian):
        print(_shown(build()), flush=True)


def install() -> None:
    """Install the Debian packages that the lab needs."""
    packages.install()


def possible() -> None:
    """Say whether there can be a lab on this machine, and why not."""
    packages.check()


def _state(node: Node) -> str:
    if not node.running:
        return "off"
    return "running" if node.daemon_pid else "running, without libvirtd"


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def serve(port: int, workers: int) -> None:
    """Start the nodes and a site on them; Ctrl-C stops the site."""
    site.check_port(port)
    up()
    site.serve(nodes(), port, workers)


COMMANDS: dict[str, Callable[[], None]] = {
    "up": up,
    "down": down,
    "status": status,
    "images": images,
    "packages": install,
    "possible": possible,
}


def main(argv: list[str]) -> str | None:
    parser = argparse.ArgumentParser(prog="python -m lab", description=str(__doc__).partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=str(command.__doc__).partition("\n")[0])
    serving = commands.add_parser("serve", help=str(serve.__doc__).partition("\n")[0])
    serving.add_argument("--port", type=int, default=3305)
    serving.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(argv)
    try:
        if options.command == "serve":
            serve(options.port, options.workers)
        else:
            COMMANDS[options.command]()
    except (packages.Unavailable, CommandFailed) as e:
        return str(e)
    except subprocess.CalledProcessError as e:  # it has said why
        return f"This failed: {shlex.join(e.cmd[1:])}"
    except KeyboardInterrupt:
        return "Stopped. What runs already is left so: `make lab` goes on from there, and `make lab-down` removes it."
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
