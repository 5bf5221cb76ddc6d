"""Who acts in a command, and how what was refused reads there."""

import logging
import os
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError

from accounts.actors import Actor, acting_as
from common.errors import DomainError, Locked, QuotaExceeded, ValidationFailed
from tasks.errors import NoWorker, WaitedInVain, WaitingEnded


def in_words(error: DomainError, options: Mapping[str, str] | None = None) -> str:
    """The message, with every fault of the fields and every resource that is short. `options` are a command's own by
    the paths of the fields that they fill."""
    match error:
        case ValidationFailed():
            faults = (f"\n  {_field(fault.field, options or {})}: {fault.message}" for fault in error.errors)
            return f"Some fields are wrong:{''.join(faults)}"
        case QuotaExceeded():
            short = error.extra["quota"].items()
            lines = (f"\n  {n}: {q['requested']} more on {q['used']} of {q['limit']}" for n, q in short)
            return f"{error.message}{''.join(lines)}"
        case Locked() if "taskId" in error.extra:
            return f"{error.message} ({error.extra['taskId']})"
        case _:
            return error.message


def _field(path: str, options: Mapping[str, str]) -> str:
    option = options.get(path)
    return f"{path} ({option})" if option else path


@contextmanager
def acting(username: str | None, words: Callable[[DomainError], str] = in_words) -> Iterator[Actor]:
    """Act as this user, else as the one that AIWM_USER names; refused with neither. What goes wrong by the rules
    of the product comes out as a CommandError in plain words."""
    name = username or os.environ.get("AIWM_USER", "")
    if not name:
        raise CommandError("Say who acts: --as USERNAME, or set AIWM_USER in the environment.")
    try:
        with _log_of_warnings(), acting_as(name) as actor:
            yield actor
    except DomainError as e:
        raise CommandError(words(e)) from e
    except (NoWorker, WaitedInVain) as e:
        raise CommandError(str(e)) from e
    except WaitingEnded as e:
        raise CommandError(str(e), returncode=130) from e


@contextmanager
def _log_of_warnings() -> Iterator[None]:
    """For who sees what a command says: what is no warning would stand between its lines."""
    root = logging.getLogger()
    level = root.level
    if level == logging.INFO:
        root.setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.setLevel(level)


def add_as(parser: ArgumentParser, default: Any) -> None:
    parser.add_argument(
        "--as", dest="as_user", metavar="USERNAME", default=default, help="who acts; else the user AIWM_USER names"
    )


def add_verbs(parser: ArgumentParser, verbs: Mapping[str, tuple[str, Callable[[ArgumentParser], None]]]) -> None:
    """A command's verbs, each with words of help and what adds its own arguments."""
    add_as(parser, default=None)
    parsers = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, (words, add) in verbs.items():
        own = parsers.add_parser(verb, help=words, description=words)
        add_as(own, default=SUPPRESS)  # it may stand on either side of the verb
        add(own)
