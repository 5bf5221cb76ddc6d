"""SSH public keys: known types, data that fits the type, and private keys refused by name."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from common.errors import ValidationFailed
from resources import ssh_keys
from resources.config import parse_create
from tests.resources.test_config import cloud_init


def line_of(private) -> str:
    return private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def data_of(kind: str, rest: bytes = b"\x00" * 32) -> str:
    return base64.b64encode(len(kind).to_bytes(4, "big") + kind.encode() + rest).decode()


ED25519 = ed25519.Ed25519PrivateKey.generate()
CURVES = (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())


@pytest.mark.parametrize(
    "private",
    [ED25519, rsa.generate_private_key(65537, 2048), *(ec.generate_private_key(curve) for curve in CURVES)],
    ids=["ed25519", "rsa", "p256", "p384", "p521"],
)
def test_it_takes_real_keys(private):
    assert ssh_keys.fault_of(line_of(private)) is None
    assert ssh_keys.fault_of(f"{line_of(private)} ada@example.com, her laptop") is None


@pytest.mark.parametrize("kind", ssh_keys.KEY_TYPES)
def test_it_takes_every_known_type(kind):
    assert ssh_keys.fault_of(f"{kind} {data_of(kind)}") is None


@pytest.mark.parametrize(
    "key",
    ["ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC...", "ssh-rsa AAAAB3...", "ssh-ed25519 AAAAC3Nza… ada@example.com"],
)
def test_it_takes_a_key_cut_short_with_dots(key):
    assert ssh_keys.fault_of(key) is None


@pytest.mark.parametrize(
    "key",
    [
        "ssh-rsa",
        "ssh-rsa ",
        "ssh-rsa ...",
        "ssh-rsa AAA...",
        "ssh-rsa AAAA",
        "ssh-rsa AAAAB3NzaC1yc2E=",
        "ssh-rsa AAAAC3NzaC1lZDI1NTE5...",
        "ssh-rsa not-base64!",
        f"ssh-rsa {data_of('ssh-ed25519')}",
        f"ssh-ed25519 {data_of('ssh-rsa')}",
        f"ssh-ed25519 {data_of('ssh-ed25519')}====",
        f"ecdsa-sha2-nistp256 {data_of('ecdsa-sha2-nistp384')}",
    ],
)
def test_it_refuses_data_of_another_type(key):
    assert ssh_keys.fault_of(key) == ssh_keys.WRONG_DATA


@pytest.mark.parametrize("key", ["", "hello", "AAAAB3NzaC1yc2E", "ssh-foo AAAA", 'command="sh" ssh-rsa AAAAB3...'])
def test_it_refuses_an_unknown_type(key):
    assert ssh_keys.fault_of(key) == ssh_keys.UNKNOWN_TYPE


def test_it_refuses_dsa_and_says_why():
    assert ssh_keys.fault_of(f"ssh-dss {data_of('ssh-dss')}") == ssh_keys.DSA


@pytest.mark.parametrize("end", ["\n", "\r\n", "\x00", "\u2028"])
def test_it_refuses_a_second_line(end):
    assert ssh_keys.fault_of(f"{line_of(ED25519)}{end}runcmd: [reboot]") == ssh_keys.ONE_LINE


@pytest.mark.parametrize(
    "key",
    [
        ED25519.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode(),
        ED25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "-----BEGIN RSA PRIVATE KEY-----",
        "-----BEGIN ENCRYPTED PRIVATE KEY----- abc",
        "PuTTY-User-Key-File-3: ssh-ed25519",
    ],
    ids=["OpenSSH", "PKCS8", "first line of RSA", "encrypted", "PuTTY"],
)
def test_it_refuses_a_private_key_by_name_and_does_not_show_it(key):
    with pytest.raises(ValidationFailed) as caught:
        parse_create(cloud_init(sshPublicKey=key))
    (error,) = caught.value.errors
    assert (error.field, error.message) == ("config.cloudInit.sshPublicKey", ssh_keys.PRIVATE_KEY)
    assert key.strip() not in f"{caught.value!r} {caught.value.__cause__}"


def test_it_trims_a_key_as_it_is_pasted():
    config = parse_create(cloud_init(sshPublicKey=f" {line_of(ED25519)} ada\n")).config
    assert config.cloud_init is not None
    assert config.cloud_init.ssh_public_key == f"{line_of(ED25519)} ada"


def test_it_refuses_a_key_of_more_than_8192_characters():
    with pytest.raises(ValidationFailed) as caught:
        parse_create(cloud_init(sshPublicKey=f"{line_of(ED25519)} {'c' * 8192}"))
    (error,) = caught.value.errors
    assert (error.code, error.message) == ("max", "SSH public key cannot exceed 8,192 characters")
