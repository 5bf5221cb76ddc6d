"""Passwords of VMs between their creation and their first good deploy. In clear they are only in memory."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from passlib.hash import sha512_crypt

from resources.config import VirtualMachineConfig, password_of
from resources.models import SecretKind, VirtualMachine, VmSecret
from vmbackends.base import Secret
from vmbackends.errors import Refused

# https://www.akkadia.org/drepper/SHA-crypt.txt; the rounds are what an attacker pays for each guess.
ROUNDS = 100_000


def _cipher() -> Fernet:
    key = hashlib.sha256(b"aiwm vm secrets" + settings.SECRETS_KEY.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(key))


def protect(config: VirtualMachineConfig) -> tuple[SecretKind, str] | None:
    """The password of a new config as it may be stored, or None without one. Slow on purpose: a tenth of a second.

    Linux takes a hash. Windows needs the password in clear once, so that it is sealed with a key of its own.
    """
    password = password_of(config)
    if password is None:
        return None
    if config.os_image.is_windows:
        return SecretKind.SEALED, _cipher().encrypt(password.encode()).decode()
    return SecretKind.HASH, sha512_crypt.using(rounds=ROUNDS).hash(password)


def suits(protected: tuple[SecretKind, str], config: VirtualMachineConfig) -> bool:
    """Whether a password was protected as this config's operating system takes it."""
    return (protected[0] == SecretKind.SEALED) == config.os_image.is_windows


def store(vm_id: str, protected: tuple[SecretKind, str]) -> None:
    kind, value = protected
    VmSecret.objects.update_or_create(vm_id=vm_id, defaults={"kind": kind, "value": value})


def wipe(vm_id: str) -> None:
    VmSecret.objects.filter(vm_id=vm_id).delete()


def for_seed(vm: VirtualMachine) -> Secret | None:
    """The password as the cloud-init seed takes it. Raises Refused where it cannot be opened."""
    row = VmSecret.objects.filter(vm_id=vm.id).first()
    if row is None:
        return None
    if row.kind == SecretKind.HASH:
        return Secret(row.value, hashed=True)
    try:
        return Secret(_cipher().decrypt(row.value.encode()).decode(), hashed=False)
    except InvalidToken as e:
        raise Refused(
            "The VM's password cannot be opened: SECRETS_KEY is not the one it was sealed with. "
            "Set the old key again, or give the VM a new password."
        ) from e
