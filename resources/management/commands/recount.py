"""Count anew what nodes and organizations have given out, and say what differs."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from resources.recount import recount


class Command(BaseCommand):
    help = "Compare the counters of nodes and quotas with the VMs' rows; exit 1 where they differ, unless --fix."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--fix", action="store_true", help="set the counters to what the rows say")

    def handle(self, *args: Any, **options: Any) -> None:
        found = recount(fix=options["fix"])
        for difference in found:
            self.stdout.write(str(difference))
        if not found:
            self.stdout.write("Every counter agrees with the rows.")
        elif not options["fix"]:
            raise CommandError(f"{len(found)} differ. `manage.py recount --fix` sets them right.")
