"""VMs from the command line, by the same actions as the API."""

import sys
from argparse import ArgumentParser
from collections.abc import Callable
from time import sleep
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q, QuerySet
from rich.console import Console

from accounts import audit
from accounts.actors import Actor
from accounts.cli import acting, add_verbs
from accounts.models import Organization
from common.errors import DomainError
from common.tables import console_on
from nodes.cli import find_node
from resources import actions, logs
from resources.cli import find_org, find_vm, find_vms, in_words
from resources.cli_body import add_options, body_of
from resources.cli_tables import log_line, show_vm, vm_table
from resources.documents import COLUMNS, VmRow, detail_document, list_document
from resources.models import VirtualMachine
from resources.queries import find_row, visible
from resources.states import Status
from tasks.cli import wait_for
from tasks.models import Task, TaskStatus
from vmbackends.base import LogLine

FOLLOW_S = 1.0
SHOWN_TASKS = 10

Change = Callable[[Actor, str], Task | None]


class Command(BaseCommand):
    help = "List, show, create, start, stop, restart and delete VMs, and read their logs. VMs go by id or unique name."

    def add_arguments(self, parser: CommandParser) -> None:
        add_verbs(parser, _VERBS)

    def handle(self, *args: Any, **options: Any) -> None:
        self.console: Console = console_on(self.stdout, no_color=options["no_color"])
        with acting(options["as_user"], in_words) as actor:
            getattr(self, f"do_{options['verb']}")(actor, options)

    # Reading

    def do_list(self, actor: Actor, options: dict[str, Any]) -> None:
        vms = _filtered(visible(actor), options)
        limit = options["limit"]
        if options["json"]:
            rows = vms.values_list(*COLUMNS)[:limit]
            self._print_json([list_document(VmRow(*row)) for row in rows])
            return
        found = list(vms.select_related("node", "organization", "task")[:limit])
        self.console.print(vm_table(self.console, found) if found else "No VMs.")

    def do_show(self, actor: Actor, options: dict[str, Any]) -> None:
        vm = find_vm(actor, options["vm"])
        row = find_row(actor, vm.id)
        if options["json"]:
            self._print_json(detail_document(row, actor.may_write))
            return
        show_vm(self.console, vm, row, list(Task.objects.filter(subject_id=vm.id)[:SHOWN_TASKS]))

    def do_logs(self, actor: Actor, options: dict[str, Any]) -> None:
        vm = find_vm(actor, options["vm"])
        lines = logs.read(vm, limit=options["lines"])
        self._print_lines(lines)
        try:
            while options["follow"]:
                sleep(FOLLOW_S)
                lines = self._print_new(find_vm(actor, vm.id), lines)
        except KeyboardInterrupt:
            return

    def _print_new(self, vm: VirtualMachine, seen: list[LogLine]) -> list[LogLine]:
        """Print what came after these lines; gives those that stand at the newest moment."""
        last = seen[-1].timestamp if seen else None
        lines = logs.read(vm, limit=logs.MAX_LIMIT, since=last)
        self._print_lines([line for line in lines if line not in seen])
        return lines or seen

    # Changing

    def do_create(self, actor: Actor, options: dict[str, Any]) -> None:
        with audit.attempt(actor, "vm.create", object_type="vm", org_id=actor.org_id):
            vm = actions.create(actor, body_of(options), find_org(actor, options["org"]))
        self.console.print(f"Created {vm.name} ({vm.id}) on {vm.node.name}.")
        if options["start"]:
            self._change(actor, [vm], actions.start, {**options, "verb": "start"})

    def do_start(self, actor: Actor, options: dict[str, Any]) -> None:
        self._change(actor, find_vms(actor, options["vms"]), actions.start, options)

    def do_stop(self, actor: Actor, options: dict[str, Any]) -> None:
        def stop(actor: Actor, vm_id: str) -> Task:
            return actions.stop(actor, vm_id, options["force"])

        self._change(actor, find_vms(actor, options["vms"]), stop, options)

    def do_restart(self, actor: Actor, options: dict[str, Any]) -> None:
        def restart(actor: Actor, vm_id: str) -> Task:
            return actions.restart(actor, vm_id, options["force"])

        self._change(actor, find_vms(actor, options["vms"]), restart, options)

    def do_delete(self, actor: Actor, options: dict[str, Any]) -> None:
        vms = find_vms(actor, options["vms"])
        if not options["yes"]:
            _ask(vms, "Delete", "deleted", "with all data")
        self._change(actor, vms, actions.delete, options)

    def do_forget(self, actor: Actor, options: dict[str, Any]) -> None:
        vms = find_vms(actor, options["vms"], also_deleted=True)
        if not options["yes"]:
            _ask(vms, "Forget", "forgotten", "with all data, and free what they hold though they may run yet")
        self._change(actor, vms, _forget, options)

    def _change(self, actor: Actor, vms: list[VirtualMachine], change: Change, options: dict[str, Any]) -> None:
        """Do it to each VM, whatever another of them answers, and wait for what began."""
        faults: list[str] = []
        begun: dict[str, Task] = {}
        labels = _labels(vms)
        for vm in vms:
            try:
                with audit.attempt(
                    actor, f"vm.{options['verb']}", object_type="vm", object_id=vm.id, org_id=vm.organization_id
                ):
                    task = change(actor, vm.id)
            except DomainError as e:
                faults.append(f"{labels[vm.id]}: {in_words(e)}")
                continue
            if task is None:
                self.console.print(f"{labels[vm.id]}: done")
            else:
                begun[labels[vm.id]] = task
        if options["no_wait"]:
            for label, task in begun.items():
                self.console.print(f"{label}: {task.public_id} {task.type}")
        elif begun:
            faults += self._wait(begun, options["timeout"])
        if faults:
            raise CommandError("\n".join(faults))

    def _wait(self, begun: dict[str, Task], timeout_s: float) -> list[str]:
        return [
            f"{label}: {task.type} {task.status}: {task.error or task.message}"
            for label, task in wait_for(self.console, begun, timeout_s).items()
            if task.status != TaskStatus.SUCCEEDED
        ]

    def _print_lines(self, lines: list[LogLine]) -> None:
        for line in lines:
            self.console.print(log_line(line), soft_wrap=True)

    def _print_json(self, document: object) -> None:
        self.stdout.write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE).decode())


def _filtered(vms: QuerySet[VirtualMachine], options: dict[str, Any]) -> QuerySet[VirtualMachine]:
    if options["status"]:
        words = [word for group in options["status"] for word in group.split(",")]
        known = [status.value for status in Status]
        wrong = [word for word in words if word not in known]
        if wrong:
            raise CommandError(f"{wrong[0]!r} is no status. There are: {', '.join(known)}.")
        vms = vms.filter(status__in=words)
    if options["node"] is not None:
        vms = vms.filter(node=find_node(options["node"]))
    if options["org"] is not None:
        named = Q(pk=options["org"]) | Q(name=options["org"])
        vms = vms.filter(organization__in=list(Organization.objects.filter(named)))
    if options["search"]:
        words = options["search"]
        vms = vms.filter(Q(name__icontains=words) | Q(description__icontains=words) | Q(ip_address__icontains=words))
    return vms


def _labels(vms: list[VirtualMachine]) -> dict[str, str]:
    """Names, and the id too where two are named alike."""
    names = [vm.name for vm in vms]
    return {vm.id: vm.name if names.count(vm.name) == 1 else f"{vm.name} ({vm.id})" for vm in vms}


def _forget(actor: Actor, vm_id: str) -> None:
    actions.forget(actor, vm_id)


def _ask(vms: list[VirtualMachine], verb: str, done: str, what: str) -> None:
    names = ", ".join(f"{vm.name} ({vm.status}, on {vm.node.name})" for vm in vms)
    if not sys.stdin.isatty():
        raise CommandError(f"This is to {verb.lower()} {names} {what}. Say --yes.")
    if input(f"{verb} {names} {what}? [y/N] ").strip().lower() not in ("y", "yes"):
        raise CommandError(f"Nothing was {done}.")


# The arguments of each verb


def _add_list(parser: ArgumentParser) -> None:
    parser.add_argument("--status", action="append", metavar="STATUS", help="one or more, comma-separated")
    parser.add_argument("--node", metavar="NODE", help="id or name")
    parser.add_argument("--org", metavar="ORGANIZATION", help="id or name")
    parser.add_argument("--search", metavar="WORDS", help="in name, description and address")
    parser.add_argument("--limit", type=int, metavar="N")
    parser.add_argument("--json", action="store_true", help="as the API's documents")


def _add_show(parser: ArgumentParser) -> None:
    parser.add_argument("vm", metavar="VM")
    parser.add_argument("--json", action="store_true", help="as the API's document")


def _add_create(parser: ArgumentParser) -> None:
    add_options(parser)
    parser.add_argument("--org", metavar="ORGANIZATION", help="the owner, for operators: id or name")
    parser.add_argument("--start", action="store_true", help="and start it")
    _add_waiting(parser)


def _add_logs(parser: ArgumentParser) -> None:
    parser.add_argument("vm", metavar="VM")
    parser.add_argument("-n", dest="lines", type=int, default=50, metavar="N", help="the newest N lines (50)")
    parser.add_argument("--follow", "-f", action="store_true", help="go on until Ctrl-C")


def _add_start(parser: ArgumentParser) -> None:
    parser.add_argument("vms", nargs="+", metavar="VM")
    _add_waiting(parser)


def _add_stop(parser: ArgumentParser) -> None:
    _add_start(parser)
    parser.add_argument("--force", action="store_true", help="cut the power at once")


def _add_delete(parser: ArgumentParser) -> None:
    _add_start(parser)
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask")


def _add_forget(parser: ArgumentParser) -> None:
    parser.add_argument("vms", nargs="+", metavar="VM", help="also one that is being deleted, by its id: see its task")
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask")
    parser.set_defaults(no_wait=True, timeout=0.0)


def _add_waiting(parser: ArgumentParser) -> None:
    parser.add_argument("--no-wait", action="store_true", help="name the task and leave")
    parser.add_argument("--timeout", type=float, default=900, metavar="SECONDS", help="how long to wait (900)")


_VERBS: dict[str, tuple[str, Callable[[ArgumentParser], None]]] = {
    "list": ("list VMs", _add_list),
    "show": ("show a VM with its config, runtime, tasks and snapshots", _add_show),
    "create": ("create a VM", _add_create),
    "start": ("start VMs and wait until they run", _add_start),
    "stop": ("stop VMs and wait until they are off", _add_stop),
    "restart": ("restart VMs and wait until they run", _add_stop),
    "logs": ("show a VM's log", _add_logs),
    "delete": ("delete VMs and wait until they are gone", _add_delete),
    "forget": ("forget VMs of nodes that are marked lost; for operators", _add_forget),
}
