"""What a guest reads at its first boot. The secret is in the seed, and nowhere that anybody looks by chance."""

from dataclasses import replace
from io import BytesIO

import pycdlib
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vmbackends.specs import DHCP, STATIC, vm_spec
from vmbackends.base import CloudInitSpec, ImageSpec, Secret
from vmbackends.libvirt import seed

LINUX = ImageSpec("image-debian-12.qcow2")
WINDOWS = ImageSpec("image-windows-server-2022.qcow2", windows=True)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDVoTXFvbmx5IGFuIGV4YW1wbGUgb2YgYSBrZXk= " + "somebody at work " * 10
HASH = Secret("$6$rounds=100000$c2FsdA$aGFzaA", hashed=True)
CLEAR = Secret("Pä55: #'\"{}🚀", hashed=False)

reproducible = settings(deadline=None, derandomize=True, database=None)


def read(vm=None, image=LINUX, secret=None):
    return {name: yaml.safe_load(content) for name, content in seed.documents(vm or vm_spec(), image, secret).items()}


def files_of(image: bytes, reader: str) -> dict[str, bytes]:
    """The files of an ISO image by name, as `rr_path` (Linux) or `joliet_path` (Windows) has them."""
    iso = pycdlib.PyCdlib()
    iso.open_fp(BytesIO(image))
    try:
        files = {}
        for child in iso.list_children(**{reader: "/"}):
            if child.is_file():
                name = child.rock_ridge.name() if reader == "rr_path" else child.file_identifier().removesuffix(b";1")
                name = name.decode() if reader == "rr_path" else name.decode("utf-16-be").removesuffix(";1")
                content = BytesIO()
                iso.get_file_from_iso_fp(content, **{reader: f"/{name}"})
                files[name] = content.getvalue()
        return files
    finally:
        iso.close()


# Who it is


def test_a_guest_is_an_instance_of_its_own():
    vm = vm_spec()

    assert read(vm)["meta-data"] == {"instance-id": vm.id, "local-hostname": "dev-vm-01"}
    assert read(vm)["user-data"]["hostname"] == "dev-vm-01"


@pytest.mark.parametrize(
    ("name", "hostname"),
    [
        ("Build Server #7", "build-server-7"),
        ("  Büro__Ärger  ", "buro-arger"),
        ("a" * 62 + "-bcd", "a" * 62),
        ("10.0.0.1", "10-0-0-1"),
        ("2025", "vm-692cdc80aabbccddeeff0001"),
        ("☃", "vm-692cdc80aabbccddeeff0001"),
        ("---", "vm-692cdc80aabbccddeeff0001"),
    ],
)
def test_without_a_hostname_it_is_the_name_as_a_host_can_have_it(name, hostname):
    vm = vm_spec(id="692cdc80aabbccddeeff0001", name=name)

    for cloud_init in (None, CloudInitSpec(username="ubuntu")):
        assert seed.hostname(replace(vm, cloud_init=cloud_init)) == hostname


@given(name=st.text(st.characters()))
@reproducible
def test_any_name_makes_a_hostname(name):
    hostname = seed.hostname(vm_spec(name=name, cloud_init=None))

    assert 1 <= len(hostname) <= 63
    assert set(hostname) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not hostname.startswith("-")
    assert not hostname.endswith("-")
    assert not hostname.isdigit()


# Linux


def test_a_linux_user_has_the_key_and_the_hash():
    vm = vm_spec(cloud_init=CloudInitSpec("h", KEY, "ops"))

    assert read(vm, secret=HASH)["user-data"] == {
        "hostname": "h",
        "manage_etc_hosts": "localhost",
        "ssh_pwauth": True,
        "users": [
            {
                "name": "ops",
                "shell": "/bin/bash",
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "lock_passwd": False,
                "hashed_passwd": HASH.value,
                "ssh_authorized_keys": [KEY],
            }
        ],
    }


def test_a_linux_user_without_a_password_is_locked():
    user_data = read(vm_spec(cloud_init=CloudInitSpec(ssh_public_key=KEY, username="ops")))["user-data"]

    assert user_data["ssh_pwauth"] is False
    assert user_data["users"][0]["lock_passwd"] is True
    assert "hashed_passwd" not in user_data["users"][0]


@pytest.mark.parametrize(("image", "name"), [(LINUX, "ubuntu"), (WINDOWS, "Administrator")])
def test_a_user_without_a_name_has_the_systems_usual_one(image, name):
    assert read(vm_spec(cloud_init=CloudInitSpec()), image)["user-data"]["users"][0]["name"] == name


def test_root_may_log_in_where_the_user_is_root():
    assert read(vm_spec(cloud_init=CloudInitSpec(username="root")))["user-data"]["disable_root"] is False
    assert "disable_root" not in read()["user-data"]


@pytest.mark.parametrize("image", [LINUX, WINDOWS])
def test_nobody_is_added_where_nobody_was_asked_for(image):
    assert "users" not in read(vm_spec(cloud_init=None), image)["user-data"]


@pytest.mark.parametrize("image", [LINUX, WINDOWS])
def test_the_user_data_say_what_they_are(image):
    for cloud_init in (None, CloudInitSpec(username="ubuntu")):
        documents = seed.documents(vm_spec(cloud_init=cloud_init), image, None)
        assert documents["user-data"].startswith(b"#cloud-config\n")


def test_a_key_stays_on_one_line():
    documents = seed.documents(vm_spec(cloud_init=CloudInitSpec(ssh_public_key=KEY)), LINUX, None)

    assert KEY.encode() in documents["user-data"]


# Windows


def test_a_windows_user_is_told_its_password_by_both_plugins_that_set_one():
    documents = read(vm_spec(cloud_init=CloudInitSpec("h", KEY, "ops")), WINDOWS, CLEAR)

    assert documents["user-data"] == {
        "users": [
            {"name": "ops", "groups": ["Administrators"], "passwd": CLEAR.value, "ssh_authorized_keys": [KEY]},
        ]
    }
    assert documents["meta-data"]["local-hostname"] == "h"
    assert documents["meta-data"]["admin-username"] == "ops"
    assert documents["meta-data"]["admin-password"] == CLEAR.value


def test_a_windows_user_without_a_password_gets_none_from_us():
    assert set(read(image=WINDOWS)["meta-data"]) == {"instance-id", "local-hostname"}
    assert "passwd" not in read(image=WINDOWS)["user-data"]["users"][0]


@pytest.mark.parametrize(("image", "secret"), [(LINUX, CLEAR), (WINDOWS, HASH)])
def test_a_password_of_the_wrong_kind_is_refused(image, secret):
    with pytest.raises(ValueError, match="Windows takes a password in clear") as refusal:
        seed.documents(vm_spec(), image, secret)

    assert secret.value not in str(refusal.value)


# Network


@pytest.mark.parametrize("image", [LINUX, WINDOWS])
def test_a_static_address_comes_with_its_way_out(image):
    assert read(vm_spec(network=replace(STATIC, netmask="255.255.254.0")), image)["network-config"] == {
        "version": 2,
        "ethernets": {
            "eth0": {
                "match": {"macaddress": "52:54:00:00:00:01"},
                "set-name": "eth0",
                "dhcp4": False,
                "addresses": ["192.168.100.10/23"],
                "routes": [{"to": "0.0.0.0/0", "via": "192.168.100.1"}],
            }
        },
    }


def test_an_address_by_dhcp_is_asked_for_by_the_interface_of_this_mac():
    assert read(vm_spec(network=replace(DHCP, mac="52:AB:00:00:00:02")))["network-config"]["ethernets"] == {
        "eth0": {"match": {"macaddress": "52:ab:00:00:00:02"}, "set-name": "eth0", "dhcp4": True}
    }


# The image


@pytest.mark.parametrize("reader", ["rr_path", "joliet_path"])
@pytest.mark.parametrize(("system", "secret"), [(LINUX, HASH), (WINDOWS, CLEAR)])
def test_linux_and_windows_read_the_same_files(reader, system, secret):
    documents = seed.documents(vm_spec(), system, secret)

    files = files_of(seed.iso(documents), reader)

    assert sorted(files) == ["meta-data", "network-config", "user-data"]
    assert all(files[name] == bytes(content) for name, content in documents.items())


def test_the_image_is_found_by_its_label():
    iso = pycdlib.PyCdlib()
    iso.open_fp(BytesIO(seed.iso(seed.documents(vm_spec(), LINUX, None))))

    assert iso.pvd.volume_identifier.rstrip() == b"cidata"
    iso.close()


@given(
    username=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    password=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)
@reproducible
def test_any_text_comes_back(username, key, password):
    vm = vm_spec(cloud_init=CloudInitSpec(ssh_public_key=key, username=username))
    user = {"name": username, "groups": ["Administrators"], "passwd": password, "ssh_authorized_keys": [key]}

    assert read(vm, WINDOWS, Secret(password, hashed=False))["user-data"]["users"] == [user]


# The secret


@pytest.mark.parametrize(("image", "secret"), [(LINUX, HASH), (WINDOWS, CLEAR)])
@pytest.mark.parametrize("shown", [repr, str, "{}".format, "{!r}".format, lambda value: "%s" % (value,)])  # noqa: UP031
def test_nothing_that_carries_the_secret_shows_it(image, secret, shown):
    documents = seed.documents(vm_spec(), image, secret)
    carriers = [secret, documents, seed.iso(documents), *documents.values()]

    for text in map(shown, carriers):
        assert secret.value not in text
        assert repr(secret.value.encode())[2:-1] not in text
