"""Nodes from the command line: added, checked and asked what they have, by the same actions as the API."""

from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.text import Text

from accounts import audit
from accounts.actors import Actor
from accounts.cli import acting, add_verbs, in_words
from common.errors import DomainError
from common.tables import console_on, new_table, plain
from common.validation import parse
from nodes import actions, room, strays
from nodes.checks import Checkup, check
from nodes.cli import find_node
from nodes.models import DomainType, Node, NodeImage
from nodes.requests import NodeCreate
from tasks.cli import wait_for
from tasks.models import Task, TaskStatus

_STYLES = {"online": "green", "offline": "red", "maintenance": "yellow", "lost": "red"}
# The options of `nodes add` by the API's field paths.
_OPTIONS = {
    "name": "NAME",
    "uri": "URI",
    "hostname": "--hostname",
    "segment": "--segment",
    "pool": "--pool",
    "bridge": "--bridge",
    "untaggedBridge": "--untagged-bridge",
    "openvswitch": "--openvswitch",
    "domainType": "--domain-type",
    "cpuMode": "--cpu-mode",
    "vcpuOvercommit": "--vcpu-overcommit",
    "capacity.vcpus": "--vcpus",
    "capacity.ramMB": "--ram-mb",
    "capacity.diskGB": "--disk-gb",
}


class Command(BaseCommand):
    help = "List, add, check and refresh nodes. For operators. Nodes go by id or name."

    def add_arguments(self, parser: CommandParser) -> None:
        add_verbs(parser, _VERBS)

    def handle(self, *args: Any, **options: Any) -> None:
        self.console: Console = console_on(self.stdout, no_color=options["no_color"])
        with acting(options["as_user"], partial(in_words, options=_OPTIONS)) as actor:
            getattr(self, f"do_{options['verb']}")(actor, options)

    def do_list(self, actor: Actor, options: dict[str, Any]) -> None:
        with audit.attempt(actor, "node.list", object_type="node"):
            actor.require_operator()
        nodes = list(Node.objects.all())
        if not nodes:
            self.console.print("No nodes. Add one: manage.py nodes add NAME URI")
            return
        images: dict[str, list[str]] = defaultdict(list)
        for node_id, os_image in NodeImage.objects.order_by("os_image").values_list("node_id", "os_image"):
            images[node_id].append(os_image)
        shown = new_table(
            self.console, "NAME", "STATUS", "VCPUS", "RAM", "DISK", "GUESTS", "IMAGES"
        )  # fmt: skip
        for node in nodes:
            shown.add_row(
                plain(node.name), Text(node.status, style=_STYLES[node.status]),
                f"{node.used_vcpus} of {room.capacity(node).vcpus}",
                f"{_gb(node.used_ram_mb)} of {_gb(node.cap_ram_mb)}",
                f"{node.used_disk_gb} of {node.cap_disk_gb} GB", _guests(node),
                ", ".join(images[node.id]) or "-",
            )  # fmt: skip
        self.console.print(shown)

    def do_add(self, actor: Actor, options: dict[str, Any]) -> None:
        with audit.attempt(actor, "node.create", object_type="node"):
            actor.require_operator()
            node = actions.create(actor, parse(NodeCreate, _body(options)))
        self.console.print(f"Added {plain(node.name)} ({node.id}).")
        self.console.print(f"Next: manage.py nodes check {node.name}")

    def do_check(self, actor: Actor, options: dict[str, Any]) -> None:
        node = find_node(options["node"])
        with audit.attempt(actor, "node.check", object_type="node", object_id=node.id):
            checkup = check(actor, node)
        self._print_report(node, checkup)
        for sentence in strays.sentences(node):
            self.console.print(f"Note: {plain(sentence)}", soft_wrap=True)
        if not checkup.lacks:
            self.console.print(f"{plain(node.name)} lacks nothing.")
            return
        for number, lack in enumerate(checkup.lacks, 1):
            self.console.print(f"{number}. {plain(lack.what)}", style="yellow", soft_wrap=True)
            self.console.print(f"   {plain(lack.mend)}", soft_wrap=True)
        raise CommandError(f"{plain(node.name)} lacks {_count(len(checkup.lacks))}. Mend the first and check again.")

    def _print_report(self, node: Node, checkup: Checkup) -> None:
        report = checkup.report
        versions = ", ".join(f"{name} {version}" for name, version in sorted(report.versions.items()))
        facts = [
            ("versions", versions),
            ("guests", " ".join(filter(None, (report.domain_type, report.cpu_mode)))),
            ("capabilities", ", ".join(report.capabilities or ())),
            ("vCPUs", report.vcpus),
            ("RAM", None if report.ram_mb is None else _gb(report.ram_mb)),
            ("disk", None if report.disk_gb is None else f"{report.disk_gb} GB"),
            ("GPUs", None if report.gpus is None else len(report.gpus)),
            ("images", None if report.images is None else ", ".join(image.volume for image in report.images)),
        ]
        self.console.print(f"{plain(node.name)} answers.")
        for name, fact in facts:
            if fact not in (None, ""):
                self.console.print(f"  {name}: {plain(str(fact))}", soft_wrap=True)

    def do_refresh(self, actor: Actor, options: dict[str, Any]) -> None:
        nodes = {node.name: node for node in map(find_node, options["nodes"])}
        faults: list[str] = []
        begun: dict[str, Task] = {}
        for name, node in nodes.items():
            try:
                with audit.attempt(actor, "node.refresh", object_type="node", object_id=node.id):
                    begun[name] = actions.refresh(actor, node.id)
            except DomainError as e:
                faults.append(f"{name}: {in_words(e)}")
        if options["no_wait"]:
            for name, task in begun.items():
                self.console.print(f"{plain(name)}: {task.public_id}")
        elif begun:
            faults += _failed(wait_for(self.console, begun, options["timeout"]))
        if faults:
            raise CommandError("\n".join(faults))


def _failed(ended: dict[str, Task]) -> Iterable[str]:
    return [
        f"{name}: {task.type} {task.status}: {task.error or task.message}"
        for name, task in ended.items()
        if task.status != TaskStatus.SUCCEEDED
    ]


def _body(options: dict[str, Any]) -> dict[str, Any]:
    """The API's body of a new node. What is not said is left to its defaults."""
    uri = options["uri"] or ""
    said = {
        "segment": options["segment"],
        "pool": options["pool"],
        "bridge": options["bridge"],
        "untaggedBridge": options["untagged_bridge"],
        "domainType": options["domain_type"],
        "cpuMode": options["cpu_mode"],
        "vcpuOvercommit": options["vcpu_overcommit"],
    }
    return {
        "name": options["name"],
        "hostname": options["hostname"] or _host_of(uri) or options["name"],
        "uri": uri,
        "openvswitch": options["openvswitch"],
        "enabled": not options["maintenance"],
        "capacity": {"vcpus": options["vcpus"], "ramMB": options["ram_mb"], "diskGB": options["disk_gb"]},
        **{name: value for name, value in said.items() if value is not None},
    }


def _host_of(uri: str) -> str | None:
    try:
        return urlsplit(uri).hostname
    except ValueError:
        return None  # the action says what is wrong with it


def _guests(node: Node) -> str:
    words = (node.domain_type or node.probed_domain_type, node.cpu_mode or node.probed_cpu_mode)
    return " ".join(filter(None, words)) or "-"


def _gb(ram_mb: int) -> str:
    return f"{ram_mb / 1024:.4g} GB"


def _count(number: int) -> str:
    return "one thing" if number == 1 else f"{number} things"


# The arguments of each verb


def _add_list(parser: ArgumentParser) -> None:
    """It takes nothing."""


def _add_add(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("uri", metavar="URI", nargs="?", help="of libvirt, as qemu+tls://worker-01.example.com/system")
    parser.add_argument("--hostname", help="(the URI's host, else NAME)")
    parser.add_argument("--segment", help="the network that its VLANs are of (default)")
    parser.add_argument("--pool", help="the storage pool of disks and images (aiwm)")
    parser.add_argument("--bridge", help="of each VLAN, or with --openvswitch the one that takes tags (br{vlan})")
    parser.add_argument("--untagged-bridge", metavar="BRIDGE", help="for VMs without a VLAN (br0)")
    parser.add_argument("--openvswitch", action="store_true", help="its bridges are Open vSwitch's")
    parser.add_argument("--domain-type", choices=DomainType.values, help="(the best that works)")
    parser.add_argument("--cpu-mode", metavar="MODE", help="host-model, host-passthrough, maximum or a CPU model")
    parser.add_argument("--vcpu-overcommit", type=float, metavar="N", help="vCPUs promised for each that it has (1)")
    parser.add_argument("--vcpus", type=int, default=0, metavar="N", help="what it has, until it is asked itself (0)")
    parser.add_argument("--ram-mb", type=int, default=0, metavar="N", help="(0)")
    parser.add_argument("--disk-gb", type=int, default=0, metavar="N", help="(0)")
    parser.add_argument("--maintenance", action="store_true", help="it takes no VMs yet")


def _add_check(parser: ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE")


def _add_refresh(parser: ArgumentParser) -> None:
    parser.add_argument("nodes", nargs="+", metavar="NODE")
    parser.add_argument("--no-wait", action="store_true", help="name the task and leave")
    parser.add_argument("--timeout", type=float, default=120, metavar="SECONDS", help="how long to wait (120)")


_VERBS: dict[str, tuple[str, Callable[[ArgumentParser], None]]] = {
    "list": ("list nodes with what is promised of them", _add_list),
    "add": ("add a node", _add_add),
    "check": ("ask a node, from here, and say in order what it lacks and how to mend it", _add_check),
    "refresh": ("have a worker ask nodes what they have, and write it down", _add_refresh),
}
