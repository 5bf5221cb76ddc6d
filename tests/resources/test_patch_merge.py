"""A merge patch of a VM: RFC 7396, then the whole again by the rules of a create body."""

import copy
from typing import Any

import pytest

from common.errors import Malformed, ValidationFailed
from resources.config import config_document, merge_patch, parse_patch, password_of
from tests.resources.test_config import GUIDE_BODY, NET

DHCP = {"mode": "bridge-vlan", "ipMode": "dhcp", "vlanId": 100}


def patched(patch: Any, current: dict[str, Any] = GUIDE_BODY) -> tuple[dict[str, Any], set[str]]:
    body, changed = parse_patch(current, patch)
    return config_document(body.config), changed


def faults(patch: Any, current: dict[str, Any] = GUIDE_BODY) -> set[tuple[str, str, str]]:
    with pytest.raises(ValidationFailed) as caught:
        parse_patch(current, patch)
    return {(error.field, error.code, error.message) for error in caught.value.errors}


# Source: RFC 7396, appendix A; of it what can come to an object.
@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({"a": "foo"}, {"a": {"b": 1, "c": None}}, {"a": {"b": 1}}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_it_merges_as_the_rfc_says(document, patch, result):
    before = copy.deepcopy((document, patch))
    assert merge_patch(document, patch) == result
    assert (document, patch) == before


@pytest.mark.parametrize(
    ("patch", "changed"),
    [
        ({}, set()),
        ({"name": "other"}, {"name"}),
        ({"name": " Dev VM Ubuntu 22.04 "}, set()),
        ({"description": None}, {"description"}),
        ({"description": ""}, {"description"}),
        ({"nodeId": "0" * 24}, {"nodeId"}),
        ({"resourceType": "virtual-machine", "config": {"type": "virtual-machine"}}, set()),
        ({"config": {}}, set()),
        ({"config": {"vcpus": 8}}, set()),
        ({"config": {"vcpus": 9, "ramMB": 1024, "diskGB": 200}}, {"config.vcpus", "config.ramMB", "config.diskGB"}),
        ({"config": {"osImage": "debian-12"}}, {"config.osImage"}),
        ({"config": {"gpuConfig": None}}, {"config.gpuConfig"}),
        ({"config": {"gpuConfig": {"deviceIds": ["GPU-2"]}}}, {"config.gpuConfig"}),
        ({"config": {"networkConfig": {"vlanId": None}}}, {"config.networkConfig"}),
        ({"config": {"cloudInit": None}}, {"config.cloudInit"}),
        ({"config": {"cloudInit": {"hostname": None}}}, {"config.cloudInit"}),
        ({"config": {"cloudInit": {"password": "correct horse"}}}, {"config.cloudInit"}),
        ({"name": "other", "config": {"vcpus": 2}}, {"name", "config.vcpus"}),
    ],
)
def test_it_says_what_differs(patch, changed):
    assert patched(patch)[1] == changed


def test_it_leaves_the_current_document_alone():
    before = copy.deepcopy(GUIDE_BODY)
    patched({"config": {"networkConfig": {"ipMode": "dhcp"}, "gpuConfig": {"enabled": False}}})
    assert before == GUIDE_BODY


def test_it_merges_nested_objects():
    config, _ = patched({"config": {"cloudInit": {"hostname": "other"}}})
    assert config["cloudInit"] == {**GUIDE_BODY["config"]["cloudInit"], "hostname": "other"}


def test_it_gives_the_new_password_and_never_shows_it():
    body, _ = parse_patch(GUIDE_BODY, {"config": {"cloudInit": {"password": "correct horse"}}})
    assert password_of(body.config) == "correct horse"
    assert "password" not in config_document(body.config)["cloudInit"]


def test_it_takes_a_description_where_there_was_none():
    for absent in ({}, {"description": None}, {"description": ""}):
        current = {**{key: value for key, value in GUIDE_BODY.items() if key != "description"}, **absent}
        assert patched({"description": "new"}, current)[1] == {"description"}
        assert patched({"description": None}, current)[1] == set()


def test_it_drops_the_addresses_with_dhcp():
    config, changed = patched({"config": {"networkConfig": {"ipMode": "dhcp"}}})
    assert config["networkConfig"] == DHCP
    assert changed == {"config.networkConfig"}


def test_it_refuses_addresses_given_with_dhcp():
    patch = {"config": {"networkConfig": {"ipMode": "dhcp", "ipAddress": "192.168.100.11"}}}
    assert faults(patch) == {(f"{NET}.ipAddress", "invalid", "Not allowed with DHCP")}


def test_it_refuses_an_address_for_a_vm_with_dhcp():
    current = {**GUIDE_BODY, "config": {**GUIDE_BODY["config"], "networkConfig": DHCP}}
    patch = {"config": {"networkConfig": {"ipAddress": "192.168.100.11"}}}
    assert faults(patch, current) == {(f"{NET}.ipAddress", "invalid", "Not allowed with DHCP")}


def test_it_wants_all_addresses_for_static():
    current = {**GUIDE_BODY, "config": {**GUIDE_BODY["config"], "networkConfig": DHCP}}
    fields = {field for field, _, _ in faults({"config": {"networkConfig": {"ipMode": "static"}}}, current)}
    assert fields == {f"{NET}.ipAddress", f"{NET}.netmask", f"{NET}.gateway"}


def test_it_drops_the_devices_with_mig_and_the_profile_with_passthrough():
    mig = {"mode": "mig", "migProfile": "1g.5gb"}
    config, _ = patched({"config": {"gpuConfig": mig}})
    assert config["gpuConfig"] == {"enabled": True, **mig}
    back = {"mode": "passthrough", "deviceIds": ["GPU-3"]}
    config, _ = patched({"config": {"gpuConfig": back}}, {**GUIDE_BODY, "config": config})
    assert config["gpuConfig"] == {"enabled": True, **back}


def test_it_refuses_devices_given_with_mig():
    patch = {"config": {"gpuConfig": {"mode": "mig", "migProfile": "1g.5gb", "deviceIds": ["GPU-0"]}}}
    assert {field for field, _, _ in faults(patch)} == {"config.gpuConfig.deviceIds"}


def test_it_switches_a_gpu_off_and_on():
    config, _ = patched({"config": {"gpuConfig": {"enabled": False}}})
    assert config["gpuConfig"] == {"enabled": False}
    off = {**GUIDE_BODY, "config": config}
    assert faults({"config": {"gpuConfig": {"enabled": True}}}, off) == {
        ("config.gpuConfig.mode", "required", "GPU mode is required")
    }


@pytest.mark.parametrize(
    ("patch", "fault"),
    [
        ({"name": None}, ("name", "required", "VM name is required")),
        ({"nodeId": None}, ("nodeId", "required", "Node is required")),
        ({"resourceType": None}, ("resourceType", "required", "Resource type is required")),
        ({"resourceType": "container"}, ("resourceType", "enum", "Must be virtual-machine")),
        ({"config": None}, ("config", "required", "Config is required")),
        ({"config": "x"}, ("config", "type", "Must be an object")),
        ({"config": {"type": "container"}}, ("config.type", "enum", "Must be virtual-machine")),
        ({"config": {"vcpus": None}}, ("config.vcpus", "required", "Number of vCPUs is required")),
        ({"config": {"vcpus": "4"}}, ("config.vcpus", "type", "Must be a number")),
        ({"config": {"networkConfig": None}}, (NET, "required", "Network configuration is required")),
        ({"config": {"networkConfig": 5}}, (NET, "type", "Must be an object")),
        ({"config": {"networkConfig": {"ipMode": ["dhcp"]}}}, (f"{NET}.ipMode", "enum", "Must be one of static, dhcp")),
        ({"config": {"gpuConfig": {"mode": {}}}}, ("config.gpuConfig.mode", "enum", "Must be one of passthrough, mig")),
        ({"status": "running"}, ("status", "unknown_field", "Unknown field")),
        ({"status": None}, ("status", "unknown_field", "Unknown field")),
        ({"config": {"turbo": None}}, ("config.turbo", "unknown_field", "Unknown field")),
        ({"config": {"cloudInit": {"shell": None}}}, ("config.cloudInit.shell", "unknown_field", "Unknown field")),
        ({"config": {"cloudInit": {"shell": "zsh"}}}, ("config.cloudInit.shell", "unknown_field", "Unknown field")),
    ],
)
def test_it_names_the_fault(patch, fault):
    assert faults(patch) == {fault}


def test_it_tells_all_faults_at_once():
    patch = {"name": None, "status": None, "config": {"vcpus": 0, "networkConfig": {"ipAddress": None}}}
    assert faults(patch) == {
        ("name", "required", "VM name is required"),
        ("status", "unknown_field", "Unknown field"),
        ("config.vcpus", "min", "Minimum 1 vCPU required"),
        (f"{NET}.ipAddress", "required", "IP address required for static mode"),
    }


@pytest.mark.parametrize("patch", [None, [], "x", 5])
def test_it_calls_what_is_no_object_malformed(patch):
    with pytest.raises(Malformed):
        parse_patch(GUIDE_BODY, patch)
