"""What a VM would cost, by the site's price list."""

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.conf import settings

from common.validation import StrictModel, parse
from resources.config import Config, gpu_count
from resources.messages import MESSAGES

HOURS_A_MONTH = 730
_HOURLY_STEP = Decimal("0.0001")
_MONTHLY_STEP = Decimal("0.01")

UNITS = {"vcpus": "vCPU", "ramGB": "GB", "diskGB": "GB", "gpus": "GPU", "migSlices": "compute slice"}


class EstimateBody(StrictModel):
    """The body of `POST /resources/estimate`: a create body's `config`."""

    config: Config


def parse_estimate(data: object) -> EstimateBody:
    return parse(EstimateBody, data, MESSAGES)


def prices() -> dict[str, Decimal]:
    """The price of an hour of each unit. By way of `str`, so that 0.1 stays 0.1."""
    return {item: Decimal(str(price)) for item, price in settings.PRICES.items()}


def estimate(config: Config) -> dict[str, Any]:
    """The price by the hour and by the month of 730 hours. The hour is the sum of the items as they are shown."""
    listed = prices()
    items = []
    total = Decimal(0)
    for item, quantity in _quantities(config):
        hourly = (quantity * listed[item]).quantize(_HOURLY_STEP, ROUND_HALF_UP)
        total += hourly
        items.append(
            {
                "item": item,
                "quantity": _number(quantity),
                "unit": UNITS[item],
                "unitPrice": _number(listed[item]),
                "hourly": _number(hourly),
            }
        )
    monthly = (total * HOURS_A_MONTH).quantize(_MONTHLY_STEP, ROUND_HALF_UP)
    return {"currency": settings.CURRENCY, "hourly": _number(total), "monthly": _number(monthly), "items": items}


def _quantities(config: Config) -> Iterator[tuple[str, Decimal]]:
    yield "vcpus", Decimal(config.vcpus)
    yield "ramGB", Decimal(config.ram_mb) / 1024
    yield "diskGB", Decimal(config.disk_gb)
    if gpu_count(config):
        yield "gpus", Decimal(gpu_count(config))
    if mig_slices(config):
        yield "migSlices", Decimal(mig_slices(config))


def mig_slices(config: Config) -> int:
    """Compute slices of the MIG instance: 3 for `3g.20gb`."""
    gpu = config.gpu_config
    if gpu is None or not gpu.enabled or gpu.mig_profile is None:
        return 0
    return int(gpu.mig_profile.partition("g")[0])


def _number(value: Decimal) -> int | float:
    """As JSON shows it best: 8 and not 8.0."""
    return int(value) if value == value.to_integral_value() else float(value)
