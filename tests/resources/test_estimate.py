"""The estimate as a function: exact money from a config and the price list."""

import pytest

from common.errors import Malformed, ValidationFailed
from resources.pricing import estimate, parse_estimate
from tests.resources.test_config import GONE, GUIDE_BODY, changed, gpu


@pytest.fixture(autouse=True)
def _price_list(settings):
    settings.CURRENCY = "USD"
    settings.PRICES = {"vcpus": 0.02, "ramGB": 0.005, "diskGB": 0.0001, "gpus": 2.5, "migSlices": 0.36}


def estimate_of(body):
    return estimate(parse_estimate({"config": body["config"]}).config)


def test_it_prices_the_guides_vm():
    assert estimate_of(GUIDE_BODY) == {
        "currency": "USD",
        "hourly": 5.33,
        "monthly": 3890.9,
        "items": [
            {"item": "vcpus", "quantity": 8, "unit": "vCPU", "unitPrice": 0.02, "hourly": 0.16},
            {"item": "ramGB", "quantity": 32, "unit": "GB", "unitPrice": 0.005, "hourly": 0.16},
            {"item": "diskGB", "quantity": 100, "unit": "GB", "unitPrice": 0.0001, "hourly": 0.01},
            {"item": "gpus", "quantity": 2, "unit": "GPU", "unitPrice": 2.5, "hourly": 5},
        ],
    }


def test_it_prices_mig_by_its_compute_slices():
    item = estimate_of(gpu(enabled=True, mode="mig", migProfile="3g.20gb"))["items"][-1]
    assert item == {"item": "migSlices", "quantity": 3, "unit": "compute slice", "unitPrice": 0.36, "hourly": 1.08}


@pytest.mark.parametrize("gpu_config", [GONE, {"enabled": False, "mode": "mig", "migProfile": "1g.5gb"}])
def test_it_asks_nothing_for_a_gpu_that_is_off(gpu_config):
    found = estimate_of(changed(config__gpuConfig=gpu_config))
    assert [item["item"] for item in found["items"]] == ["vcpus", "ramGB", "diskGB"]


def test_it_takes_fractions_of_a_gigabyte():
    assert estimate_of(changed(config__ramMB=1536))["items"][1]["quantity"] == 1.5


def test_its_hour_is_the_sum_of_the_items_as_shown(settings):
    settings.PRICES = dict.fromkeys(settings.PRICES, 0.00005)
    found = estimate_of(changed(config__vcpus=1, config__ramMB=1024, config__diskGB=11, config__gpuConfig=GONE))
    assert [item["hourly"] for item in found["items"]] == [0.0001, 0.0001, 0.0006]
    assert (found["hourly"], found["monthly"]) == (0.0008, 0.58)


def test_it_tells_faults_by_the_paths_of_a_create_body():
    with pytest.raises(ValidationFailed) as caught:
        estimate_of(changed(config__vcpus=0))
    (error,) = caught.value.errors
    assert (error.field, error.message) == ("config.vcpus", "Minimum 1 vCPU required")


def test_it_wants_a_config_and_nothing_else():
    with pytest.raises(ValidationFailed) as caught:
        parse_estimate({"name": "x"})
    assert {(error.field, error.code) for error in caught.value.errors} == {
        ("config", "required"),
        ("name", "unknown_field"),
    }
    with pytest.raises(Malformed):
        parse_estimate(None)
