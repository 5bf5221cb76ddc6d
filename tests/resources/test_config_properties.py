"""What holds for every config that is accepted, whatever it is: drawn by hypothesis, the same each time."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings

from common.errors import ValidationFailed
from common.validation import CODES
from resources.config import (
    CreateBody,
    VirtualMachineConfig,
    config_document,
    config_json,
    parse_create,
    parse_patch,
    password_of,
)
from resources.specs import build_spec
from tests.resources.config_strategies import bodies, bodies_gone_wrong, patches
from vmbackends import get_backend
from vmbackends.base import PowerIntent

reproducible = settings(
    derandomize=True, database=None, deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)


def stored(body: CreateBody) -> dict[str, Any]:
    """The body as the columns of a VM hold it, which is what a patch is merged into."""
    return {
        "name": body.name,
        "description": body.description or None,
        "resourceType": body.resource_type,
        "nodeId": body.node_id,
        "config": json.loads(config_json(body.config)),
    }


def assert_it_round_trips(body: CreateBody) -> None:
    text = config_json(body.config)
    again = VirtualMachineConfig.model_validate_json(text)
    assert again == without_password(body.config)
    assert config_json(again) == text
    assert json.loads(text) == config_document(body.config)
    assert stored(parse_create({key: value for key, value in stored(body).items() if value is not None})) == stored(
        body
    )


def without_password(config: VirtualMachineConfig) -> VirtualMachineConfig:
    if config.cloud_init is None:
        return config
    return config.model_copy(update={"cloud_init": config.cloud_init.model_copy(update={"password": None})})


def assert_it_can_be_built(body: CreateBody) -> None:
    now = datetime.now(UTC)
    spec = build_spec(
        vm_id="0" * 24, name=body.name, organization="", config=body.config, gpus=(), power=PowerIntent(True, now)
    )
    assert list(get_backend().check(spec)) == []
    assert (spec.vcpus, spec.ram_mb, spec.disk_gb) == (body.config.vcpus, body.config.ram_mb, body.config.disk_gb)


def assert_faults_are_told(refusal: ValidationFailed) -> None:
    assert refusal.errors
    for fault in refusal.errors:
        assert fault.code in CODES
        assert fault.message
    assert len({(fault.field, fault.code) for fault in refusal.errors}) == len(refusal.errors)


@reproducible
@given(bodies)
def test_every_good_body_is_taken_and_round_trips(data):
    body = parse_create(data)

    assert_it_round_trips(body)
    assert_it_can_be_built(body)


@reproducible
@given(bodies)
def test_an_empty_patch_changes_nothing(data):
    before = stored(parse_create(data))

    for patch in ({}, {"config": {}}, {"config": {"networkConfig": {}}}, before):
        body, changed = parse_patch(before, patch)
        assert (stored(body), changed) == (before, set())


@reproducible
@given(bodies, patches())
def test_a_patch_is_refused_or_comes_to_what_round_trips(data, patch):
    before = stored(parse_create(data))
    try:
        body, changed = parse_patch(before, patch)
    except ValidationFailed as e:
        event("refused")
        assert_faults_are_told(e)
        return
    event("taken")
    after = stored(body)
    assert_it_round_trips(body)
    assert_it_can_be_built(body)
    new_password = {"config.cloudInit"} if password_of(body.config) is not None else set()
    assert changed == differing(before, after) | new_password
    assert parse_patch(after, patch)[1] == new_password, "the same patch once more changes nothing"


@reproducible
@given(bodies_gone_wrong())
def test_a_body_gone_wrong_is_refused_with_its_faults_or_round_trips(data):
    try:
        body = parse_create(data)
    except ValidationFailed as e:
        event("refused")
        assert_faults_are_told(e)
    else:
        event("taken")
        assert_it_round_trips(body)
        assert_it_can_be_built(body)


def differing(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    old, new = before["config"], after["config"]
    changed = {f"config.{key}" for key in {*old, *new} if old.get(key) != new.get(key)}
    return changed | {key for key in ("name", "description", "nodeId") if before[key] != after[key]}


@pytest.mark.parametrize("strategy", [bodies, patches()], ids=["bodies", "patches"])
def test_the_strategies_draw_good_ones_often(strategy):
    """Else the properties above would hold for nothing."""
    drawn: list[bool] = []
    before = {"name": "web", "resourceType": "virtual-machine", "nodeId": "0" * 24, "config": LEAST}

    @reproducible
    @given(strategy)
    def draw(data):
        try:
            parse_patch(before, data)
        except ValidationFailed:
            drawn.append(False)
        else:
            drawn.append(True)

    draw()
    assert sum(drawn) > len(drawn) / 4
    assert {True} if strategy is bodies else {True, False} == set(drawn)


LEAST = {
    "type": "virtual-machine",
    "osImage": "ubuntu-22.04",
    "vcpus": 2,
    "ramMB": 2048,
    "diskGB": 20,
    "networkConfig": {"mode": "bridge-vlan", "ipMode": "dhcp"},
}
