"""Ways to run VMs. `get_backend()` gives the one that `VM_BACKEND` names, built once a process."""

from functools import cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from vmbackends.base import Backend


@cache
def get_backend() -> Backend:
    """The backend in use: `VM_BACKEND = {"BACKEND": "<dotted path>", "OPTIONS": {...}}`."""
    configured = settings.VM_BACKEND
    try:
        backend_class = import_string(configured["BACKEND"])
        backend = backend_class(**configured.get("OPTIONS", {}))
    except (ImportError, KeyError, TypeError, ValueError) as e:
        raise ImproperlyConfigured(f"VM_BACKEND {configured!r} cannot be used: {e}") from e
    if not isinstance(backend, Backend):
        raise ImproperlyConfigured(f"VM_BACKEND {configured['BACKEND']} is not a vmbackends.base.Backend")
    return backend


def _forget_when_changed(*, setting: str, **_: Any) -> None:
    if setting == "VM_BACKEND":
        get_backend.cache_clear()


setting_changed.connect(_forget_when_changed)
