"""Readers of settings from the environment. Each refuses a value that it does not know, at start.

Any of them is also read from the file that `<NAME>_FILE` names, so that secrets need not stand in the environment.
"""

import json
import os
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

_YES = ("1", "true", "yes", "on")
_NO = ("0", "false", "no", "off")


def text(name: str, default: str = "") -> str:
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return os.environ.get(name, default)
    if name in os.environ:
        raise ImproperlyConfigured(f"Set {name} or {name}_FILE, not both.")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as e:
        raise ImproperlyConfigured(f"{name}_FILE cannot be read: {e}") from e


def flag(name: str, default: bool) -> bool:
    value = text(name, "on" if default else "off").strip().lower()
    if value in _YES:
        return True
    if value in _NO:
        return False
    raise ImproperlyConfigured(f"{name} is {value!r}; it takes one of {', '.join(_YES + _NO)}.")


def number(name: str, default: float, *, least: float = 0) -> float:
    value = text(name, str(default))
    try:
        parsed = float(value)
    except ValueError as e:
        raise ImproperlyConfigured(f"{name} is {value!r}; it takes a number.") from e
    if not least <= parsed < float("inf"):
        raise ImproperlyConfigured(f"{name} is {value}; it takes a number of at least {least:g}.")
    return parsed


def integer(name: str, default: int, *, least: int = 0) -> int:
    value = text(name, str(default))
    try:
        parsed = int(value)
    except ValueError as e:
        raise ImproperlyConfigured(f"{name} is {value!r}; it takes a whole number.") from e
    if parsed < least:
        raise ImproperlyConfigured(f"{name} is {value}; it takes a whole number of at least {least}.")
    return parsed


def words(name: str, default: str = "") -> list[str]:
    """A list, comma-separated."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def networks(name: str) -> list[IPv4Network | IPv6Network]:
    """Addresses and networks, comma-separated: `10.0.0.0/8, 2001:db8::5`."""
    try:
        return [ip_network(word) for word in words(name)]
    except ValueError as e:
        raise ImproperlyConfigured(f"{name} takes addresses and networks: {e}") from e


def database(name: str, default: str, **options: Any) -> dict[str, Any]:
    """What Django takes. What it says of a wrong address does not show it: there is a password in it.

    The folder of a file is made; that PostgreSQL's driver is there is seen to.
    """
    no_address = f"{name} is no address of a database; it takes sqlite:///path or postgres://user:password@host/name."
    try:
        parsed: dict[str, Any] = {**dj_database_url.parse(text(name, default), **options)}
    except ValueError as e:
        raise ImproperlyConfigured(no_address) from e
    if parsed["ENGINE"] not in ("django.db.backends.sqlite3", "django.db.backends.postgresql"):
        raise ImproperlyConfigured(no_address)
    if parsed["ENGINE"] == "django.db.backends.sqlite3":
        try:
            Path(parsed["NAME"]).parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise ImproperlyConfigured(f"{name}: the folder of its file cannot be made: {e}") from e
    elif parsed["ENGINE"] == "django.db.backends.postgresql" and find_spec("psycopg") is None:
        raise ImproperlyConfigured(
            f"{name} needs PostgreSQL's driver: pip install --require-hashes -r requirements-postgres.txt."
        )
    return parsed


def one_of(name: str, default: str, allowed: tuple[str, ...]) -> str:
    value = text(name, default)
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} is {value!r}; it takes one of {', '.join(allowed)}.")
    return value


def json_object(name: str) -> dict[str, Any]:
    value = text(name, "{}")
    try:
        parsed = json.loads(value)
    except ValueError as e:
        raise ImproperlyConfigured(f"{name} is no JSON: {e}") from e
    if not isinstance(parsed, dict):
        raise ImproperlyConfigured(f"{name} must be a JSON object.")
    return parsed
