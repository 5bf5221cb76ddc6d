"""The mock's curves are plausible: bounded, smooth, different, and counters only grow."""

import itertools
from datetime import UTC, datetime, timedelta
from statistics import correlation, pstdev

import pytest

from tests.vmbackends.specs import A100, LONG_AGO, MIG, vm_spec
from vmbackends.base import PowerIntent
from vmbackends.mock import MockBackend
from vmbackends.mock_metrics import gpu_memory_mb

SINCE = datetime(2025, 12, 3, 10, 5, tzinfo=UTC)
AT = MockBackend().metrics_at


def running(**changes):
    return vm_spec(power=PowerIntent(on=True, since=SINCE), **changes)


def samples_of(vm, count=400, step=timedelta(minutes=7)):
    return [AT(vm, SINCE + n * step) for n in range(count)]


@pytest.mark.parametrize(("ram_mb", "disk_gb"), [(512, 10), (32_768, 100), (1_048_576, 10_240)])
def test_all_stays_within_what_the_vm_has(ram_mb, disk_gb):
    for image in ("ubuntu-22.04", "windows-server-2022"):
        vm = running(ram_mb=ram_mb, disk_gb=disk_gb, os_image=image, gpus=(A100, MIG))
        for sample in samples_of(vm, 200, timedelta(hours=5)):
            assert 0 <= sample.cpu_usage <= 100
            assert 0 < sample.memory_used_mb < ram_mb
            assert 0 < sample.disk_used_gb < disk_gb
            for gpu in sample.gpus:
                assert 0 <= gpu.utilization <= 100
                assert 0 <= gpu.memory_used_mb < gpu.memory_total_mb
                assert 35 <= gpu.temperature <= 85


def test_counters_only_grow_from_zero():
    vm = running()
    assert (AT(vm, SINCE).rx_bytes, AT(vm, SINCE).tx_bytes) == (0, 0)

    samples = samples_of(vm, 3_000, timedelta(seconds=13))

    for member in ("rx_bytes", "tx_bytes"):
        values = [getattr(sample, member) for sample in samples]
        assert all(isinstance(value, int) for value in values)
        assert all(earlier < later for earlier, later in itertools.pairwise(values))


def test_disk_never_shrinks_and_a_restart_does_not_empty_it():
    vm = running()
    values = [sample.disk_used_gb for sample in samples_of(vm, 300, timedelta(hours=3))]
    assert values == sorted(values)
    assert values[-1] > values[0]

    later = SINCE + timedelta(days=20)
    restarted = vm_spec(id=vm.id, power=PowerIntent(on=True, since=later))
    assert AT(restarted, later).disk_used_gb == AT(vm, later).disk_used_gb


def test_memory_grows_to_a_plateau():
    vm = running()
    at_boot = AT(vm, SINCE).memory_used_mb
    plateau = [AT(vm, SINCE + timedelta(hours=hours)).memory_used_mb for hours in range(5, 50)]

    assert at_boot < min(plateau)
    assert max(plateau) - min(plateau) < 0.07 * vm.ram_mb


def test_load_is_smooth_and_moves():
    values = [sample.cpu_usage for sample in samples_of(running(), 1_440, timedelta(minutes=1))][5:]

    assert max(abs(a - b) for a, b in itertools.pairwise(values)) < 15
    assert pstdev(values) > 1


def test_temperature_follows_the_load():
    gpus = [sample.gpus[0] for sample in samples_of(running(gpus=(A100,)))]

    assert correlation([gpu.utilization for gpu in gpus], [gpu.temperature for gpu in gpus]) > 0.95


def test_a_gpu_is_cold_when_its_vm_starts():
    gpu = AT(running(gpus=(A100,)), SINCE).gpus[0]

    assert (gpu.utilization, gpu.memory_used_mb, gpu.temperature) == (0, 0, 35)


def test_vms_differ():
    first, second = running(), running()

    assert first.id != second.id
    one, other = AT(first, SINCE + timedelta(hours=1)), AT(second, SINCE + timedelta(hours=1))
    assert one.cpu_usage != other.cpu_usage
    assert one.rx_bytes != other.rx_bytes


def test_gpus_are_named_as_allocated_with_the_memory_that_the_vm_sees():
    gpus = AT(running(gpus=(A100, MIG)), SINCE + timedelta(hours=1)).gpus

    assert [gpu.device_id for gpu in gpus] == ["GPU-0", "GPU-1:1g.5gb:3"]
    assert [gpu.memory_total_mb for gpu in gpus] == [40_960, 5_120]
    assert gpu_memory_mb(MIG) == 5_120


def test_it_knows_what_an_id_does_not_tell():
    vm = running(id="not-a-hex-id")

    assert AT(vm, SINCE).disk_used_gb > 0


def test_a_moment_before_the_start_is_the_start():
    assert AT(running(), LONG_AGO).rx_bytes == 0
