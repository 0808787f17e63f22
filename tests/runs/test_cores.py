"""A CPU's cores as devices: what the command line does before JAX begins, and how many of them a run occupies."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

import code_jax
from code_jax.devices import mesh as devices_of
from code_jax.runs.engine import Engine
from code_jax.runs.job import Job

COUNT = "from code_jax.cli.runtime import use_cores; use_cores(); import jax; print(jax.device_count())"


def count(**variables):
    environment = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}
    command = [sys.executable, "-c", COUNT]
    return int(subprocess.run(command, env=environment | variables, check=True, capture_output=True, text=True).stdout)


def test_every_core_is_a_device_unless_jax_was_told_otherwise():
    assert count() == len(os.sched_getaffinity(0))
    assert count(XLA_FLAGS="--xla_force_host_platform_device_count=3") == 3
    assert count(JAX_NUM_CPU_DEVICES="5") == 5


def test_a_process_that_has_begun_keeps_its_devices():
    from code_jax.cli.runtime import use_cores

    before = jax.device_count()
    use_cores()
    assert jax.device_count() == before


def test_copies_of_the_weights_take_a_quarter_of_the_memory_at_most(monkeypatch):
    schedule = code_jax.linear_schedule(2)
    prior = code_jax.Prior.from_function(lambda params, x, t: x, {"a": jnp.zeros(100), "b": 1.0}, schedule, (8, 8, 3))
    size = 4 * (100 + 1 + 2 + 1)  # with the schedule's two levels and its last timestep
    monkeypatch.setattr(devices_of, "local_devices", lambda count: jax.local_devices()[:1] * 8)
    for free, expected in ((10**9, 8), (4 * size * 5, 5), (4 * size * 5 - 4, 4), (0, 1)):
        monkeypatch.setattr(devices_of, "free_memory", lambda device, free=free: free)
        assert len(devices_of.devices_for(prior, 8)) == expected


@pytest.mark.parametrize(
    ("micro_batch", "inputs", "expected"),
    [(1, 1, 1), (1, 3, 3), (4, 9, 3), (4, 4, 1), (1, 99, 8), (2, 0, 1)],
)
def test_a_run_occupies_as_many_devices_as_it_has_batches(monkeypatch, micro_batch, inputs, expected):
    import code_jax.runs.engine as module

    monkeypatch.setattr(devices_of, "local_devices", lambda count: jax.local_devices()[:1] * 8)
    monkeypatch.setattr(module, "sharding", lambda devices: None)
    monkeypatch.setattr(module.jax, "device_put", lambda prior, shared: prior)
    prior = code_jax.Prior.from_function(lambda params, x, t: x, (), code_jax.linear_schedule(), (8, 8, 3))
    engine = Engine.on_devices(prior, None, Job(micro_batch=micro_batch), inputs)
    assert len(engine.devices) == expected
    assert engine.in_flight == micro_batch * expected
