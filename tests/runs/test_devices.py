import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from code_jax.cli.main import main

FAST = ["--ode-steps", "2", "--langevin-steps", "2", "--batch-size", "2"]

pytestmark = pytest.mark.usefixtures("own_cache")

# Run with four devices: prints how often each kind of communication is in the compiled edit, and in a mean over the batch.
PROGRAM = """
import re
import jax, jax.numpy as jnp
import code_jax
from code_jax.devices.mesh import local_devices, sharding
from code_jax.editing.edit import advance, begin, per_image
from code_jax.editing.keys import image_keys
from tests.conftest import ONE_LEVEL, tiny_prior

prior = jax.device_put(tiny_prior(**ONE_LEVEL), sharding(local_devices()))
config = code_jax.preset().replace(dynamic_threshold=(0.98, 1.3))
images = jnp.zeros((8, 8, 8, 3))
operands = image_keys(jax.random.key(0), images), images, per_image(config, prior, 8)
keys, images, config = jax.device_put(operands, sharding(local_devices(), "batch"))
state = begin(keys, prior, images, config)
assert len(state.z.sharding.device_set) == 4
edit = advance.lower(keys, prior, state, config, None, jnp.int32(0), jnp.int32(9)).compile().as_text()
mean = jax.jit(lambda x: x.mean(0)).lower(images).compile().as_text()
kinds = "all-reduce|all-gather|all-to-all|collective-permute|collective-broadcast|reduce-scatter|send|recv"
for text in (edit, mean):
    print(len(re.findall(rf"= \\S+ ({kinds})[(-]", text)), "num_partitions=4" in text)
"""


def with_devices(count, *words):
    environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={count}", "JAX_PLATFORMS": "cpu"}
    environment["JAX_LOG_COMPILES"] = "1"
    return subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)


def test_a_compiled_edit_holds_no_communication():
    done = with_devices(4, "-c", PROGRAM)
    assert done.returncode == 0, done.stderr
    edit, mean = done.stdout.splitlines()
    assert edit == "0 True" and mean != "0 True"  # the mean does communicate: the search finds what is there


@pytest.mark.slow
def test_four_of_five_devices_give_the_bytes_of_one(tiny_folder, tmp_path):
    for i in range(5):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "in" / f"p{i}.png")
    base = ["restore", str(tmp_path / "in"), "--prior", tiny_folder, *FAST, "--out"]
    assert main([*base, str(tmp_path / "one"), "--devices", "1"]) == 0
    done = with_devices(5, "-m", "code_jax", *base, str(tmp_path / "four"), "--devices", "4")  # 8 at a time, for 5 pictures
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Compiling jit(advance)") == 1
    for i in range(5):
        assert (tmp_path / "four" / f"p{i}.png").read_bytes() == (tmp_path / "one" / f"p{i}.png").read_bytes()


def test_devices_that_do_not_exist_are_one_line_and_status_2(tiny_folder, tmp_path, capsys):
    Image.new("RGB", (8, 8)).save(tmp_path / "p.png")
    here = jax.local_device_count()
    for count in (0, -1, here + 1, 10**9):
        argv = ["restore", str(tmp_path / "p.png"), "--out", str(tmp_path / "out"), "--prior", tiny_folder]
        assert main([*argv, "--devices", str(count)]) == 2
        shown = capsys.readouterr().err
        assert f"devices is {count}; this process has {here} of kind cpu" in shown and shown.count("\n") == 1


def test_bfloat16_on_a_cpu_is_warned_of(tiny_folder, tmp_path, capsys):
    Image.new("RGB", (8, 8)).save(tmp_path / "p.png")
    argv = ["restore", str(tmp_path / "p.png"), "--out", str(tmp_path / "out"), "--prior", tiny_folder, *FAST]
    assert main([*argv, "--precision", "bfloat16"]) == 0
    assert "warning: --precision bfloat16 is slower than float32 on a CPU\n" in capsys.readouterr().err
