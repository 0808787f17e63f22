"""A run's bytes are its arguments' alone: none of JAX's flags in the environment changes them."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

FLAGS = [
    {},
    {"JAX_ENABLE_X64": "1", "JAX_RANDOM_SEED_OFFSET": "7", "JAX_DEBUG_NANS": "1"},
    {"JAX_DEFAULT_PRNG_IMPL": "rbg", "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16", "JAX_TRANSFER_GUARD": "disallow"},
    {"JAX_THREEFRY_PARTITIONABLE": "0", "JAX_NUMPY_DTYPE_PROMOTION": "strict", "JAX_NUMPY_RANK_PROMOTION": "raise"},
]


@pytest.mark.usefixtures("own_cache")
def test_flags_change_no_byte_of_a_run(tiny_folder, tmp_path):
    for i in range(2):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / f"p{i}.png")

    def start(number):
        words = ["restore", *(str(tmp_path / f"p{i}.png") for i in range(2)), "--out", str(tmp_path / str(number))]
        words += ["--prior", tiny_folder, "--ode-steps", "2", "--langevin-steps", "2"]
        command = [sys.executable, "-m", "code_jax", *words]
        return subprocess.Popen(command, env=os.environ | FLAGS[number], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)

    def end(process):
        said = process.communicate(timeout=300)[1].decode()
        assert process.returncode == 0, said

    end(start(0))  # which compiles for all: their programs are the same
    for process in [start(number) for number in range(1, len(FLAGS))]:
        end(process)
    made = [[(tmp_path / str(number) / f"p{i}.png").read_bytes() for i in range(2)] for number in range(len(FLAGS))]
    assert made[0][0] != made[0][1]
    for flags, pictures in zip(FLAGS, made, strict=True):
        assert pictures == made[0], flags
