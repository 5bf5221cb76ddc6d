"""How `manage.py vm` shows VMs."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.json import JSON
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from common.tables import moment, new_table, plain
from common.times import isoformat
from resources.documents import VmRow, runtime_document
from resources.models import VirtualMachine
from resources.states import LOOKS, Status
from tasks.models import Task
from vmbackends.base import LogLine

# rich has no orange and a gray that one cannot read.
_STYLES = {"gray": "dim", "orange": "yellow"}
_LEVELS = {"error": "red", "warning": "yellow", "debug": "dim"}


def vm_table(console: Console, vms: Iterable[VirtualMachine]) -> Table:
    vms = list(vms)
    # The organization is a column only where there is more than one to tell apart.
    organizations = len({vm.organization_id for vm in vms}) > 1
    names = ["ID", "NAME", "STATUS", "NODE", "IMAGE", "SIZE", "ADDRESS", "TASK"]
    table = new_table(console, *names, *(["ORGANIZATION"] if organizations else []))
    for vm in vms:
        task = f"{vm.task.type} {vm.task.progress} %" if vm.task else "-"
        size = f"{vm.vcpus} vCPU, {ram(vm.ram_mb)}, {vm.disk_gb} GB"
        gpus = ", ".join(vm.allocated_gpu)
        row = [vm.id, plain(vm.name), status_text(vm.status), vm.node.name, vm.os_image,
               f"{size}, {gpus}" if gpus else size, vm.ip_address or "-", task]  # fmt: skip
        table.add_row(*row, *([vm.organization.name] if organizations else []))
    return table


def show_vm(console: Console, vm: VirtualMachine, row: VmRow, tasks: Sequence[Task]) -> None:
    """Everything about one VM."""
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(vm, row):
        facts.add_row(Text(name, style="bold"), value)
    _framed(console, vm.name, facts)
    _framed(console, "Config", JSON(vm.config_json))
    _framed(console, "Tasks", _task_table(console, tasks))
    _framed(console, "Snapshots", _snapshot_table(console, vm))


def log_line(line: LogLine) -> Text:
    text = f"{isoformat(line.timestamp)} {line.level.upper():<7} {line.message}"
    return Text(plain(text), style=_LEVELS.get(line.level, ""))


def status_text(status: str) -> Text:
    color = LOOKS[Status(status)].color
    return Text(status, style=_STYLES.get(color, color))


def ram(ram_mb: int) -> str:
    return f"{ram_mb / 1024:g} GB"


def _facts(vm: VirtualMachine, row: VmRow) -> Iterable[tuple[str, Text | str]]:
    yield "Id", vm.id
    yield "Status", status_text(vm.status)
    if vm.error_message:
        yield "Error", plain(vm.error_message)
    if vm.description:
        yield "Description", plain(vm.description)
    yield "Node", vm.node.name
    yield "Organization", vm.organization.name
    yield "Owner", vm.owner.username
    yield "Created", moment(vm.created_at)
    if vm.started_at is None:
        yield "Runtime", "never deployed"
        return
    names = {"id": "Domain", "endpoint": "Endpoint", "ipAddress": "Address", "allocatedCPU": "vCPUs"}
    runtime = runtime_document(row)
    for key, name in names.items():
        if key in runtime:
            yield name, str(runtime[key])
    yield "RAM", f"{runtime['allocatedRAM']} GB"
    yield "GPUs", ", ".join(runtime["allocatedGPU"]) or "-"
    yield "Started", moment(vm.started_at)
    yield "Stopped", moment(vm.stopped_at)


def _task_table(console: Console, tasks: Sequence[Task]) -> Table:
    table = new_table(console, "TASK", "TYPE", "STATUS", "PROGRESS", "MESSAGE", "CREATED")
    for task in tasks:
        message = plain(task.error or task.message)
        table.add_row(
            task.public_id, task.type, task.status, f"{task.progress} %", message, moment(task.created_at)
        )  # fmt: skip
    return table


def _snapshot_table(console: Console, vm: VirtualMachine) -> Table:
    table = new_table(console, "SNAPSHOT", "NAME", "STATUS", "SIZE", "CREATED")
    for snapshot in vm.snapshots.all():
        size = f"{snapshot.size / 1024**2:.0f} MB"
        table.add_row(
            snapshot.public_id, plain(snapshot.name), snapshot.status, size, moment(snapshot.created_at)
        )  # fmt: skip
    return table


def _framed(console: Console, title: str, content: Table | JSON) -> None:
    if console.is_terminal:
        console.print(Panel(content, title=Text(plain(title)), title_align="left"))
        return
    console.print(f"== {plain(title)}")
    console.print(content)
    console.print()
