"""The body of `POST /resources`: what is taken, and every fault with its path, code and words."""

import copy
import json
import traceback
from typing import Any

import pytest

from common.errors import Malformed, ValidationFailed
from resources.config import (
    GpuMode,
    OsImage,
    VirtualMachineConfig,
    config_document,
    config_json,
    effective_username,
    gpu_count,
    mig_count,
    parse_create,
    password_of,
)
from tests.guide import GUIDE_BODY

GONE = object()


def changed(**changes: Any) -> dict[str, Any]:
    """The guide's body with some paths set (`config__vcpus=0`) or taken out (GONE)."""
    body = copy.deepcopy(GUIDE_BODY)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = body
        for parent in parents:
            place = place[parent]
        if value is GONE:
            del place[last]
        else:
            place[last] = value
    return body


def faults(body: object) -> set[tuple[str, str, str]]:
    with pytest.raises(ValidationFailed) as caught:
        parse_create(body)
    return {(error.field, error.code, error.message) for error in caught.value.errors}


def network(**changes: Any) -> dict[str, Any]:
    return changed(config__networkConfig={**GUIDE_BODY["config"]["networkConfig"], **changes})


def gpu(**config: Any) -> dict[str, Any]:
    return changed(config__gpuConfig=config)


def cloud_init(os_image: str = "ubuntu-22.04", **config: Any) -> dict[str, Any]:
    return changed(config__cloudInit=config, config__osImage=os_image)


NET = "config.networkConfig"
GPU = "config.gpuConfig"
INIT = "config.cloudInit"


def test_it_takes_the_guides_example_and_shows_it_as_sent():
    body = parse_create(GUIDE_BODY)
    assert body.name == GUIDE_BODY["name"]
    assert body.node_id == GUIDE_BODY["nodeId"]
    assert config_document(body.config) == GUIDE_BODY["config"]
    assert config_json(body.config) == json.dumps(GUIDE_BODY["config"], separators=(",", ":"))


def test_it_reads_what_was_stored():
    config = parse_create(GUIDE_BODY).config
    assert VirtualMachineConfig.model_validate_json(config_json(config)) == config


def test_it_takes_the_least_that_is_needed():
    body = parse_create(
        changed(
            description=GONE,
            config__gpuConfig=GONE,
            config__cloudInit=GONE,
            config__networkConfig={"mode": "bridge-vlan", "ipMode": "dhcp"},
        )
    )
    assert body.description is None
    assert body.config.gpu_config is None
    assert "gpuConfig" not in config_document(body.config)


@pytest.mark.parametrize("data", [None, [], "text", 5, True])
def test_it_calls_what_is_no_object_malformed(data):
    with pytest.raises(Malformed):
        parse_create(data)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        # The VM
        (changed(name=GONE), ("name", "required", "VM name is required")),
        (changed(name=None), ("name", "required", "VM name is required")),
        (changed(name=""), ("name", "required", "VM name is required")),
        (changed(name="  \t "), ("name", "required", "VM name is required")),
        (changed(name="n" * 101), ("name", "max", "Name cannot exceed 100 characters")),
        (changed(name="a\x00b"), ("name", "pattern", "Name cannot contain control characters, or invisible ones")),
        (changed(name="a\nb"), ("name", "pattern", "Name cannot contain control characters, or invisible ones")),
        (changed(name="a\x85b"), ("name", "pattern", "Name cannot contain control characters, or invisible ones")),
        (changed(name="a\u2028b"), ("name", "pattern", "Name cannot contain control characters, or invisible ones")),
        (changed(name="we\u202egdb"), ("name", "pattern", "Name cannot contain control characters, or invisible ones")),
        (changed(name="we\u200db"), ("name", "pattern", "Name cannot contain control characters, or invisible ones")),
        (changed(name="a\ud800b"), ("name", "invalid", "Must be valid Unicode text")),
        (changed(name=5), ("name", "type", "Must be text")),
        (changed(description="d" * 501), ("description", "max", "Description cannot exceed 500 characters")),
        (changed(description="\x00"), ("description", "pattern", "Description cannot contain control characters")),
        (changed(description="\x1b[31m"), ("description", "pattern", "Description cannot contain control characters")),
        (changed(description="\u2066"), ("description", "pattern", "Description cannot contain control characters")),
        (changed(resourceType=GONE), ("resourceType", "required", "Resource type is required")),
        (changed(resourceType="container"), ("resourceType", "enum", "Must be virtual-machine")),
        (changed(nodeId=GONE), ("nodeId", "required", "Node is required")),
        (changed(nodeId="675A1B2C3D4E5F6A7B8C9D0E"), ("nodeId", "pattern", "Invalid node id")),
        (changed(nodeId="675a1b2c3d4e5f6a7b8c9d0e\n"), ("nodeId", "pattern", "Invalid node id")),
        (changed(config=GONE), ("config", "required", "Config is required")),
        (changed(config=None), ("config", "required", "Config is required")),
        (changed(config=[]), ("config", "type", "Must be an object")),
        (changed(status="running"), ("status", "unknown_field", "Unknown field")),
        # Sizes
        (changed(config__type="container"), ("config.type", "enum", "Must be virtual-machine")),
        (changed(config__type=GONE), ("config.type", "required", "Config type is required")),
        (changed(config__osImage=GONE), ("config.osImage", "required", "OS image is required")),
        (changed(config__osImage="templeos"), ("config.osImage", "enum", "Unknown OS image")),
        (changed(config__osImage=["ubuntu-22.04"]), ("config.osImage", "enum", "Unknown OS image")),
        (changed(config__vcpus=GONE), ("config.vcpus", "required", "Number of vCPUs is required")),
        (changed(config__vcpus=None), ("config.vcpus", "required", "Number of vCPUs is required")),
        (changed(config__vcpus=0), ("config.vcpus", "min", "Minimum 1 vCPU required")),
        (changed(config__vcpus=-1), ("config.vcpus", "min", "Minimum 1 vCPU required")),
        (changed(config__vcpus=129), ("config.vcpus", "max", "Maximum 128 vCPUs allowed")),
        (changed(config__vcpus=10**30), ("config.vcpus", "max", "Maximum 128 vCPUs allowed")),
        (changed(config__vcpus="8"), ("config.vcpus", "type", "Must be a number")),
        (changed(config__vcpus=True), ("config.vcpus", "type", "Must be a number")),
        (changed(config__vcpus=8.5), ("config.vcpus", "type", "Must be a whole number")),
        (changed(config__vcpus=8.0), ("config.vcpus", "type", "Must be a number")),
        (changed(config__vcpus=float("nan")), ("config.vcpus", "type", "Must be a number")),
        (changed(config__ramMB=511), ("config.ramMB", "min", "Minimum 512 MB RAM required")),
        (changed(config__ramMB=1_048_577), ("config.ramMB", "max", "Maximum 1,048,576 MB (1 TB) RAM allowed")),
        (changed(config__ramMB="lots"), ("config.ramMB", "type", "Must be a number")),
        (changed(config__diskGB=9), ("config.diskGB", "min", "Minimum 10 GB disk required")),
        (changed(config__diskGB=10_241), ("config.diskGB", "max", "Maximum 10,240 GB (10 TB) disk allowed")),
        (changed(config__turbo=True), ("config.turbo", "unknown_field", "Unknown field")),
        (changed(config__ram_mb=512), ("config.ram_mb", "unknown_field", "Unknown field")),
        # GPU
        (gpu(mode="mig", migProfile="1g.5gb"), (f"{GPU}.enabled", "required", "State whether the GPU is enabled")),
        (gpu(enabled="true", mode="mig", migProfile="1g.5gb"), (f"{GPU}.enabled", "type", "Must be true or false")),
        (gpu(enabled=True), (f"{GPU}.mode", "required", "GPU mode is required")),
        (gpu(enabled=True, mode="shared"), (f"{GPU}.mode", "enum", "Must be one of passthrough, mig")),
        (
            gpu(enabled=True, mode="passthrough"),
            (f"{GPU}.deviceIds", "required", "At least one GPU device required for passthrough mode"),
        ),
        (
            gpu(enabled=True, mode="passthrough", deviceIds=[]),
            (f"{GPU}.deviceIds", "required", "At least one GPU device required for passthrough mode"),
        ),
        (
            gpu(enabled=True, mode="passthrough", deviceIds="GPU-0"),
            (f"{GPU}.deviceIds", "type", "Must be a list"),
        ),
        (
            gpu(enabled=True, mode="passthrough", deviceIds=["GPU-0", "GPU-0"]),
            (f"{GPU}.deviceIds.1", "duplicate", "GPU device listed twice"),
        ),
        (
            gpu(enabled=True, mode="passthrough", deviceIds=["GPU-0", 1]),
            (f"{GPU}.deviceIds.1", "type", "Must be text"),
        ),
        (
            gpu(enabled=True, mode="passthrough", deviceIds=["GPU 0"]),
            (f"{GPU}.deviceIds.0", "pattern", "Invalid GPU device id"),
        ),
        (
            gpu(enabled=True, mode="passthrough", deviceIds=[f"GPU-{n}" for n in range(65)]),
            (f"{GPU}.deviceIds", "max", "Must have at most 64 entries"),
        ),
        (
            gpu(enabled=True, mode="passthrough", deviceIds=["GPU-0"], migProfile="1g.5gb"),
            (f"{GPU}.migProfile", "invalid", "MIG profile is not allowed in passthrough mode"),
        ),
        (gpu(enabled=True, mode="mig"), (f"{GPU}.migProfile", "required", "MIG profile required for MIG mode")),
        (
            gpu(enabled=True, mode="mig", migProfile=""),
            (f"{GPU}.migProfile", "required", "MIG profile required for MIG mode"),
        ),
        (gpu(enabled=True, mode="mig", migProfile="huge"), (f"{GPU}.migProfile", "pattern", "Invalid MIG profile")),
        (
            gpu(enabled=True, mode="mig", migProfile="1g.5gb", deviceIds=["GPU-0"]),
            (f"{GPU}.deviceIds", "invalid", "GPU devices are not allowed in MIG mode"),
        ),
        (gpu(enabled=False, colour="red"), (f"{GPU}.colour", "unknown_field", "Unknown field")),
        (changed(config__gpuConfig=True), (GPU, "type", "Must be an object")),
        # Network
        (changed(config__networkConfig=GONE), (NET, "required", "Network configuration is required")),
        (network(mode=None), (f"{NET}.mode", "required", "Network mode is required")),
        (network(mode="nat"), (f"{NET}.mode", "enum", "Must be bridge-vlan")),
        (network(ipMode="auto"), (f"{NET}.ipMode", "enum", "Must be one of static, dhcp")),
        (network(ipMode=None), (f"{NET}.ipMode", "required", "IP mode is required")),
        (network(ipAddress=None), (f"{NET}.ipAddress", "required", "IP address required for static mode")),
        (network(ipAddress=""), (f"{NET}.ipAddress", "required", "IP address required for static mode")),
        (network(netmask=None), (f"{NET}.netmask", "required", "Netmask required for static mode")),
        (network(gateway=None), (f"{NET}.gateway", "required", "Gateway required for static mode")),
        *(
            (network(ipAddress=address), (f"{NET}.ipAddress", "pattern", "Invalid IP address format"))
            for address in ("192.168.100", "192.168.100.256", "192.168.100.010", "::1", "x", "1.2.3.4\n", "١.2.3.4")
        ),
        (network(ipAddress=5), (f"{NET}.ipAddress", "type", "Must be text")),
        (network(netmask="255.0.255.0"), (f"{NET}.netmask", "pattern", "Invalid netmask")),
        (network(netmask="0.0.0.255"), (f"{NET}.netmask", "pattern", "Invalid netmask")),
        (network(netmask="24"), (f"{NET}.netmask", "pattern", "Invalid netmask")),
        *(
            (
                network(netmask=mask),
                (f"{NET}.netmask", "invalid", "Netmask must be between 128.0.0.0 and 255.255.255.252"),
            )
            for mask in ("0.0.0.0", "255.255.255.254", "255.255.255.255")
        ),
        *(
            (
                network(ipAddress=address),
                (f"{NET}.ipAddress", "invalid", "IP address is the network or broadcast address of its subnet"),
            )
            for address in ("192.168.100.0", "192.168.100.255")
        ),
        *(
            (
                network(ipAddress=address, gateway=gateway),
                (f"{NET}.ipAddress", "invalid", "IP address is loopback, link-local, multicast or reserved"),
            )
            for address, gateway in (
                ("127.0.0.2", "127.0.0.1"),
                ("169.254.169.254", "169.254.169.1"),
                ("224.0.0.5", "224.0.0.1"),
                ("240.0.0.5", "240.0.0.1"),
                ("0.0.0.5", "0.0.0.1"),
            )
        ),
        (network(gateway="192.168.100"), (f"{NET}.gateway", "pattern", "Invalid gateway address format")),
        (
            network(gateway="192.168.100.10"),
            (f"{NET}.gateway", "invalid", "Gateway must differ from the IP address"),
        ),
        (
            network(gateway="192.168.101.1"),
            (f"{NET}.gateway", "invalid", "Gateway must be in the same subnet as the IP address"),
        ),
        (
            network(gateway="192.168.100.255"),
            (f"{NET}.gateway", "invalid", "Gateway is the network or broadcast address of its subnet"),
        ),
        (network(vlanId=0), (f"{NET}.vlanId", "min", "VLAN ID must be between 1 and 4094")),
        (network(vlanId=4095), (f"{NET}.vlanId", "max", "VLAN ID must be between 1 and 4094")),
        (network(vlanId="100"), (f"{NET}.vlanId", "type", "Must be a number")),
        # Cloud-init
        *(
            (cloud_init(hostname=name), (f"{INIT}.hostname", "pattern", "Invalid hostname"))
            for name in ("", "-dev", "dev-", "dev_vm", "dev..vm", "d" * 64, "10.0.0.1", "dev\n", "dëv")
        ),
        (cloud_init(hostname="d." * 130), (f"{INIT}.hostname", "max", "Hostname cannot exceed 253 characters")),
        *(
            (cloud_init(username=name), (f"{INIT}.username", "pattern", "Invalid username"))
            for name in ("", "1ubuntu", "Ubuntu", "a b", "a:b", "root;", "ubuntu\n")
        ),
        (cloud_init(username="u" * 33), (f"{INIT}.username", "pattern", "Invalid username")),
        *(
            (
                cloud_init("windows-server-2022", username=name),
                (f"{INIT}.username", "pattern", "Invalid username"),
            )
            for name in ("", "a/b", 'a"b', "...", "n" * 21, "ends.", "a@b")
        ),
        (cloud_init(password=""), (f"{INIT}.password", "required", "Password cannot be empty")),
        (cloud_init(password="p" * 129), (f"{INIT}.password", "max", "Password cannot exceed 128 characters")),
        (
            cloud_init(password="pass\nword"),
            (f"{INIT}.password", "pattern", "Password cannot contain control characters"),
        ),
        (cloud_init(password=12345678), (f"{INIT}.password", "type", "Must be text")),
        (
            cloud_init(sshPublicKey="ssh-ed25519 " + "A" * 8192),
            (f"{INIT}.sshPublicKey", "invalid", "Invalid SSH public key format: its data does not match its type"),
        ),
        (cloud_init(shell="zsh"), (f"{INIT}.shell", "unknown_field", "Unknown field")),
    ],
)
def test_it_names_the_one_fault(body, fault):
    assert faults(body) == {fault}


@pytest.mark.parametrize("name", ["ipAddress", "netmask", "gateway"])
def test_it_takes_no_addresses_with_dhcp(name):
    given = {name: GUIDE_BODY["config"]["networkConfig"][name]}
    body = changed(config__networkConfig={"mode": "bridge-vlan", "ipMode": "dhcp", **given})
    assert faults(body) == {(f"{NET}.{name}", "invalid", "Not allowed with DHCP")}


def test_it_tells_all_faults_at_once_across_levels():
    body = changed(
        name=GONE,
        config__vcpus=0,
        config__networkConfig={"ipMode": "static", "vlanId": "7", "gateway": "192.168.100.1"},
        config__gpuConfig={"enabled": True, "mode": "passthrough", "deviceIds": [], "extra": 1},
        config__cloudInit={"username": "Not Linux", "hostname": "-"},
    )
    assert faults(body) == {
        ("name", "required", "VM name is required"),
        ("config.vcpus", "min", "Minimum 1 vCPU required"),
        (f"{NET}.mode", "required", "Network mode is required"),
        (f"{NET}.vlanId", "type", "Must be a number"),
        (f"{NET}.ipAddress", "required", "IP address required for static mode"),
        (f"{NET}.netmask", "required", "Netmask required for static mode"),
        (f"{GPU}.deviceIds", "required", "At least one GPU device required for passthrough mode"),
        (f"{GPU}.extra", "unknown_field", "Unknown field"),
        (f"{INIT}.username", "pattern", "Invalid username"),
        (f"{INIT}.hostname", "pattern", "Invalid hostname"),
    }


def test_it_names_every_missing_field_of_an_empty_body():
    assert {field for field, _, _ in faults({})} == {"name", "resourceType", "nodeId", "config"}


@pytest.mark.parametrize(
    "body",
    [
        changed(name="n" * 100),
        changed(name="Ünïcode 机 🐧"),
        changed(description="two\nlines\tand a tab"),
        changed(description=""),
        changed(description="d" * 500),
        changed(description=None),
        changed(config__vcpus=1, config__ramMB=512, config__diskGB=10),
        changed(config__vcpus=128, config__ramMB=1_048_576, config__diskGB=10_240),
        changed(config__gpuConfig=None),
        changed(config__cloudInit={}),
        network(vlanId=1),
        network(vlanId=4094),
        network(vlanId=None),
        network(netmask="255.255.255.252", ipAddress="10.0.0.2", gateway="10.0.0.1"),
        network(netmask="255.0.0.0", ipAddress="10.255.0.0", gateway="10.0.0.1"),
        cloud_init(hostname="a"),
        cloud_init(hostname="1st.Example.com"),
        cloud_init(hostname="h" * 63),
        cloud_init(username="_svc-1"),
        cloud_init(username="u" * 32),
        cloud_init(password="p"),
        cloud_init(password="пароль 🐧"),
        cloud_init("windows-server-2019", username="Administrator"),
        cloud_init("windows-server-2019", username="John Smith"),
        gpu(enabled=True, mode="mig", migProfile="1g.5gb"),
        gpu(enabled=True, mode="mig", migProfile="7g.141gb"),
        gpu(enabled=True, mode="passthrough", deviceIds=["GPU-0"], migProfile=None),
    ],
)
def test_it_takes(body):
    config = parse_create(body).config
    assert VirtualMachineConfig.model_validate_json(config_json(config)) == config.model_copy(
        update={"cloud_init": config.cloud_init and config.cloud_init.model_copy(update={"password": None})}
    )


@pytest.mark.parametrize("image", list(OsImage))
def test_it_takes_every_image(image):
    assert parse_create(changed(config__osImage=image.value)).config.os_image is image


def test_it_trims_the_name():
    assert parse_create(changed(name="  web \n")).name == "web"


def test_it_keeps_nothing_of_a_gpu_that_is_off():
    config = parse_create(gpu(enabled=False, mode="nonsense", deviceIds="x", migProfile=5)).config
    assert config_document(config)["gpuConfig"] == {"enabled": False}
    assert gpu_count(config) == mig_count(config) == 0


def test_it_counts_gpus_and_mig_instances():
    whole = parse_create(GUIDE_BODY).config
    assert (gpu_count(whole), mig_count(whole)) == (2, 0)
    mig = parse_create(gpu(enabled=True, mode="mig", migProfile="3g.20gb")).config
    assert (gpu_count(mig), mig_count(mig)) == (0, 1)
    assert mig.gpu_config is not None
    assert mig.gpu_config.mode is GpuMode.MIG
    without = parse_create(changed(config__gpuConfig=GONE)).config
    assert (gpu_count(without), mig_count(without)) == (0, 0)


def test_it_never_writes_the_password():
    config = parse_create(cloud_init(username="ubuntu", password="correct horse")).config
    assert password_of(config) == "correct horse"
    for written in (config_json(config), str(config_document(config)), repr(config), str(config)):
        assert "correct horse" not in written
        assert "password" not in written


def test_it_has_no_password_where_none_was_sent():
    assert password_of(parse_create(GUIDE_BODY).config) is None
    assert password_of(parse_create(changed(config__cloudInit=GONE)).config) is None


@pytest.mark.parametrize("secret", ["hunter2\x00", "hunter2" * 30, ["hunter2"]])
def test_it_shows_no_secret_in_a_fault(secret):
    with pytest.raises(ValidationFailed) as caught:
        parse_create(cloud_init(password=secret, hostname="-", username="Not Linux"))
    assert len(caught.value.errors) == 3
    assert "hunter2" not in f"{caught.value.errors} {''.join(traceback.format_exception(caught.value))}"


@pytest.mark.parametrize(
    ("os_image", "init", "username"),
    [
        ("ubuntu-22.04", GONE, "ubuntu"),
        ("centos-7", {}, "ubuntu"),
        ("windows-server-2022", {}, "Administrator"),
        ("windows-server-2022", {"username": "Ada"}, "Ada"),
        ("debian-12", {"username": "ada"}, "ada"),
    ],
)
def test_it_knows_the_user_to_make(os_image, init, username):
    body = changed(config__osImage=os_image, config__cloudInit=init)
    config = parse_create(body).config
    assert effective_username(config) == username
    assert config_document(config).get("cloudInit") == (None if init is GONE else init)


def test_it_keeps_the_answer_to_a_flood_of_faults_short():
    with pytest.raises(ValidationFailed) as caught:
        parse_create({"k" * 1000 + str(n): n for n in range(5000)})
    assert len(caught.value.errors) <= 200
    assert max(len(error.field) for error in caught.value.errors) <= 100


def test_it_changes_nothing_of_its_input():
    body = changed()
    parse_create(body)
    assert body == GUIDE_BODY
