"""OS images from the command line, on the machine where their files are kept."""

import signal
import sys
from argparse import ArgumentParser, BooleanOptionalAction
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.text import Text

from accounts import audit
from accounts.actors import Actor
from accounts.cli import acting, add_verbs
from common.errors import DomainError
from common.tables import console_on, new_table, plain
from nodes import image_actions
from nodes.cli import find_node
from nodes.image_actions import Wants
from nodes.image_files import FORMATS
from nodes.images import use
from nodes.models import DeviceModel, Firmware, Image, Node, NodeImage, Ready


class Command(BaseCommand):
    help = "Import, list and remove OS images, push them to nodes, and remove old ones there. For operators."

    def add_arguments(self, parser: CommandParser) -> None:
        add_verbs(parser, _VERBS)

    def handle(self, *args: Any, **options: Any) -> None:
        self.console: Console = console_on(self.stdout, no_color=options["no_color"])
        with _ended_in_order(), acting(options["as_user"]) as actor:
            getattr(self, f"do_{options['verb']}")(actor, options)

    def do_import(self, actor: Actor, options: dict[str, Any]) -> None:
        source, os_image = Path(options["file"]), options["image"]
        wants = Wants(options["firmware"], options["device_model"], options["tpm"], options["ready"])
        with (
            self._bar(f"Reading {source.name}", _length(source)) as progress,
            audit.attempt(actor, "image.import", object_type="image", object_id=_id_of(os_image)),
        ):
            image = image_actions.import_image(
                actor, os_image, source, wants, options["format"], options["sha256"], progress
            )
        self.console.print(f"Imported {image.os_image}: {_size(image.size_bytes)}, {_about(image)}.")
        self.console.print(f"SHA-256 {image.sha256}")
        self.console.print(f"Next: manage.py images push {image.os_image} NODE...")

    def do_list(self, actor: Actor, options: dict[str, Any]) -> None:
        with audit.attempt(actor, "image.list", object_type="image"):
            actor.require_operator()
        images = list(Image.objects.all())
        if not images:
            self.console.print("No images. Import one: manage.py images import NAME FILE")
            return
        nodes: dict[str, list[str]] = defaultdict(list)
        named = NodeImage.objects.filter(node__deleted_at=None).order_by("node__name")
        for os_image, name in named.values_list("os_image", "node__name"):
            nodes[os_image].append(name)
        shown = new_table(self.console, "IMAGE", "SIZE", "DISK", "GUESTS", "READY", "IMPORTED", "NODES")
        for image in images:
            shown.add_row(
                image.os_image, _size(image.size_bytes), _size(image.virtual_bytes), _guests(image), image.ready,
                f"{image.updated_at:%Y-%m-%d}", ", ".join(nodes[image.os_image]) or "-",
            )  # fmt: skip
        self.console.print(shown)

    def do_push(self, actor: Actor, options: dict[str, Any]) -> None:
        """To each node, whatever another of them answers."""
        os_image = options["image"]
        faults = []
        for node in _nodes(options):
            try:
                self._push(actor, os_image, node)
            except DomainError as e:
                faults.append(f"{node.name}: {e.message}")
        if faults:
            raise CommandError("\n".join(faults))

    def _push(self, actor: Actor, os_image: str, node: Node) -> None:
        length = Image.objects.filter(os_image=os_image).values_list("size_bytes", flat=True).first()
        with (
            self._bar(f"{os_image} to {node.name}", length) as progress,
            audit.attempt(actor, "image.push", object_type="image", object_id=_id_of(os_image)),
        ):
            image_actions.push(actor, os_image, node, progress)
        self.console.print(f"{node.name} has {os_image}.")

    def do_remove(self, actor: Actor, options: dict[str, Any]) -> None:
        os_image = options["image"]
        with audit.attempt(actor, "image.remove", object_type="image", object_id=_id_of(os_image)):
            image_actions.remove(actor, os_image)
        self.console.print(f"Removed {os_image}.")

    def do_prune(self, actor: Actor, options: dict[str, Any]) -> None:
        """On each node, whatever another of them answers."""
        faults = []
        for node in _nodes(options):
            try:
                with audit.attempt(actor, "image.prune", object_type="node", object_id=node.id):
                    pruned = image_actions.prune(actor, node)
            except DomainError as e:
                faults.append(f"{node.name}: {e.message}")
                continue
            for volume in pruned.removed:
                self.console.print(f"{plain(node.name)}: removed {plain(volume)}.", soft_wrap=True)
            for reason in pruned.refused:
                self.console.print(f"{plain(node.name)}: kept. {plain(reason)}", soft_wrap=True)
            if not pruned.removed and not pruned.refused:
                self.console.print(f"{plain(node.name)} has no image that is not kept any more.")
        if faults:
            raise CommandError("\n".join(faults))

    @contextmanager
    def _bar(self, words: str, length: int | None) -> Iterator[Callable[[int], None]]:
        """A bar on a terminal, and nothing in a pipe."""
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=self.console, disable=not self.console.is_terminal, transient=True) as progress:
            bar = progress.add_task(Text(words).markup, total=length)
            yield lambda done: progress.update(bar, completed=done)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """By what a closed terminal or a shutdown sends, too: no half of a file is left, here or on a node."""

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    # nohup has it ignored, and wants it so.
    heard = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _nodes(options: dict[str, Any]) -> list[Node]:
    if options["all"] == bool(options["nodes"]):
        raise CommandError("Name the nodes, or say --all.")
    if options["all"]:
        nodes = list(Node.objects.filter(lost=False))
        if not nodes:
            raise CommandError("There is no node. Add one by manage.py nodes add.")
        return nodes
    return list({node.id: node for node in map(find_node, options["nodes"])}.values())


def _id_of(os_image: str) -> str:
    return Image.objects.filter(os_image=os_image).values_list("id", flat=True).first() or ""


def _length(source: Path) -> int | None:
    """None where it cannot be told; what is wrong with it says the import."""
    try:
        return source.stat().st_size
    except OSError:
        return None


def _size(size_bytes: int) -> str:
    megabytes = size_bytes / 1024**2
    return f"{megabytes / 1024:.1f} GB" if megabytes >= 1000 else f"{megabytes:.1f} MB"


def _about(image: Image) -> str:
    return f"a disk of {_size(image.virtual_bytes)}, {_guests(image)}, ready by {image.get_ready_display()}"


def _guests(image: Image) -> str:
    """How they are run."""
    return " ".join((image.firmware, image.device_model, *(["TPM"] if image.tpm else [])))


# The arguments of each verb


def _add_import(parser: ArgumentParser) -> None:
    parser.add_argument("image", metavar="NAME", help=", ".join(use.names))
    parser.add_argument("file", metavar="FILE", help="it is copied; nothing is changed in it")
    parser.add_argument("--format", choices=FORMATS, default="qcow2", help="what the file is; raw is converted (qcow2)")
    parser.add_argument("--sha256", metavar="HEX", help="what the file's checksum must be")
    parser.add_argument("--firmware", choices=Firmware.values, help="(bios)")
    parser.add_argument("--device-model", choices=DeviceModel.values, help="(virtio; of Windows sata, with an e1000e)")
    parser.add_argument("--tpm", action=BooleanOptionalAction, help="a TPM 2.0 (no)")
    parser.add_argument(
        "--ready", choices=Ready.values,
        help="how a guest is known to be up: by its guest agent, by what cloud-init writes to the serial console, or "
        "by nothing but its power (cloud-init; of Windows power)",
    )  # fmt: skip


def _add_list(parser: ArgumentParser) -> None:
    """It takes nothing."""


def _add_push(parser: ArgumentParser) -> None:
    parser.add_argument("image", metavar="NAME")
    parser.add_argument("nodes", nargs="*", metavar="NODE", help="id or name")
    parser.add_argument("--all", action="store_true", help="to every node that is not lost")


def _add_prune(parser: ArgumentParser) -> None:
    parser.add_argument("nodes", nargs="*", metavar="NODE", help="id or name")
    parser.add_argument("--all", action="store_true", help="on every node that is not lost")


def _add_remove(parser: ArgumentParser) -> None:
    parser.add_argument("image", metavar="NAME")


_VERBS: dict[str, tuple[str, Callable[[ArgumentParser], None]]] = {
    "import": ("keep a file as the image of that name, in place of the one there was", _add_import),
    "list": ("list the images and the nodes that have them", _add_list),
    "push": ("send an image to nodes", _add_push),
    "remove": ("remove an image from the nodes that have it, and its file", _add_remove),
    "prune": ("remove from nodes the images that are not kept any more and that no disk there needs", _add_prune),
}
