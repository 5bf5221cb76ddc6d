"""The catalogue as a function: the guide's tables as data, and what this site has of them."""

import json

import pytest

from resources.catalog import IMAGES, catalog
from resources.config import OsImage, parse_create
from resources.states import Status
from tests.resources.test_config import gpu

NODE = "675a1b2c3d4e5f6a7b8c9d0e"


def test_it_lists_every_image_with_the_nodes_that_have_it():
    images = catalog({"debian-12": [NODE], "templeos": [NODE]})["osImages"]
    assert [image["value"] for image in images] == [image.value for image in OsImage]
    assert set(IMAGES) == set(OsImage)
    debian = next(image for image in images if image["value"] == "debian-12")
    assert debian == {
        "value": "debian-12",
        "displayName": "Debian 12 (Bookworm)",
        "icon": "🌀",
        "recommendedFor": "Stability, security",
        "defaultUsername": "ubuntu",
        "nodes": [NODE],
    }
    assert images[0]["nodes"] == []


def test_it_lists_the_mig_profiles_and_each_can_be_asked_for():
    profiles = catalog({})["migProfiles"]
    assert [(mig["profile"], mig["gpuInstances"], mig["memoryGB"]) for mig in profiles] == [
        ("1g.5gb", 1, 5),
        ("1g.10gb", 1, 10),
        ("2g.10gb", 2, 10),
        ("3g.20gb", 3, 20),
        ("4g.20gb", 4, 20),
        ("7g.40gb", 7, 40),
    ]
    for mig in profiles:
        parse_create(gpu(enabled=True, mode="mig", migProfile=mig["profile"]))


def test_it_shows_every_status_with_its_look_and_actions():
    statuses = catalog({})["statuses"]
    assert [status["value"] for status in statuses] == [status.value for status in Status]
    running = statuses[2]
    assert running == {
        "value": "running",
        "color": "green",
        "icon": "✅",
        "meaning": "Running",
        "actions": ["stop", "restart", "console", "snapshot", "restore"],
    }


def test_it_shows_the_limits_that_the_schema_holds():
    limits = catalog({})["limits"]
    assert limits["vcpus"] == {"min": 1, "max": 128}
    assert limits["ramMB"] == {"min": 512, "max": 1_048_576}
    assert limits["diskGB"] == {"min": 10, "max": 10_240}
    assert limits["vlanId"] == {"min": 1, "max": 4094}
    assert limits["name"]["maxLength"] == 100
    assert limits["description"]["maxLength"] == 500


@pytest.mark.parametrize(
    ("nodes_by_image", "image"),
    [
        ({}, "ubuntu-22.04"),
        ({"debian-12": [NODE], "ubuntu-22.04": [NODE]}, "ubuntu-22.04"),
        ({"windows-server-2022": [NODE], "debian-12": [NODE], "ubuntu-22.04": []}, "debian-12"),
    ],
)
def test_a_form_begins_with_an_image_that_a_node_has(nodes_by_image, image):
    assert catalog(nodes_by_image)["defaults"]["osImage"] == image


def test_it_shows_modes_defaults_and_prices(settings):
    settings.CURRENCY = "EUR"
    settings.PRICES = {"vcpus": 0.5}
    found = catalog({})
    assert found["gpuModes"] == ["passthrough", "mig"]
    assert found["networkModes"] == ["bridge-vlan"]
    assert found["ipModes"] == ["static", "dhcp"]
    assert found["defaults"]["username"] == "ubuntu"
    assert found["prices"] == {"currency": "EUR", "perHour": {"vcpus": 0.5}, "hoursPerMonth": 730}
    json.dumps(found)
