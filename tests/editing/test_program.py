"""An edit is one compiled program, or the same in segments."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax
from code_jax.editing.edit import _edit, number_of_moves, per_image, run_in_segments
from code_jax.editing.keys import image_keys
from tests.editing.conftest import SMALL, images_of

pytestmark = pytest.mark.usefixtures("optimized")


def hlo(prior, config, count=2):
    images = jnp.zeros((count, *prior.image_shape))
    return _edit.lower(
        image_keys(jax.random.key(0), images), prior, images, per_image(config, prior, count), None, None
    ).compile()


def test_the_program_has_no_callback_no_collective_and_no_weights_in_it(tiny):
    text = hlo(tiny, code_jax.EditConfig(program=SMALL)).as_text()
    assert not re.search(r"custom_call_target=\"[^\"]*callback|infeed\(|outfeed\(", text)
    assert not re.search(r"all-reduce|all-gather|collective-permute|all-to-all", text)
    constants = ["1", *re.findall(r"f32\[([\d,]+)\]\S* constant\(", text)]
    largest = max(int(np.prod([int(d) for d in dims.split(",")])) for dims in constants)
    assert largest < max(leaf.size for leaf in jax.tree.leaves(tiny.params))


def test_networks_and_memory_do_not_grow_with_steps_levels_or_annealing(tiny):
    def measure(**changes):
        depth = changes.pop("depth", 0.5)
        compiled = hlo(tiny, code_jax.EditConfig(depth=depth, program=dataclasses.replace(SMALL, **changes)))
        return convolutions(compiled), compiled.memory_analysis().temp_size_in_bytes

    def convolutions(compiled):
        return len(re.findall(r"= f32\S* convolution\(", compiled.as_text()))

    networks, memory = measure()
    images = jnp.zeros((2, *tiny.image_shape))
    alone = jax.jit(lambda prior, x: prior.eps(x, jnp.zeros(2))).lower(tiny, images).compile()
    assert networks == convolutions(alone) > 0  # DDIM needs it once, whatever the moves
    for changes in ({"num_steps": 300}, {"langevin_steps": 300}, {"anneal_levels": 5}, {"depth": jnp.array([0.6, 0.4, 0.2])}):
        more, peak = measure(**changes)
        assert more == networks
        assert peak <= memory + 65536  # the tables of moves alone


def test_a_second_batch_and_other_numbers_compile_nothing(tiny, caplog):
    def run(seed, **numbers):
        config = code_jax.EditConfig(**numbers, program=SMALL)
        code_jax.edit(jax.random.key(seed), tiny, images_of(tiny) * (1 - seed / 10), config)

    run(0, depth=0.5, step_size=0.01, eta=2.0)
    run(0, depth=0.5, step_size=0.01, eta=2)
    with jax.log_compiles(True), caplog.at_level("DEBUG", logger="jax"):
        run(1, depth=0.5, step_size=0.01, eta=2.0)
        run(2, depth=0.3, step_size=0.002, eta=None, anneal_rate=0.5, input_noise=0)
    assert "Compiling" not in caplog.text
    with jax.log_compiles(True), caplog.at_level("DEBUG", logger="jax"):
        jax.jit(lambda x: x * 3.25)(1.0)
    assert "Compiling" in caplog.text  # the log would have told


def test_segments_give_the_bytes_of_one_call(tiny):
    x0, config = images_of(tiny), code_jax.EditConfig(program=SMALL)
    moves, _ = number_of_moves(tiny, config)
    keys, seen = image_keys(jax.random.key(0), x0), []
    whole = run_in_segments(keys, tiny, x0, config, np.array([0, moves]), seen.append)
    parts = run_in_segments(keys, tiny, x0, config, np.array([0, 1, 7, moves]), seen.append)
    np.testing.assert_array_equal(whole.images, parts.images)
    np.testing.assert_array_equal(whole.images, code_jax.edit(keys, tiny, x0, config).images)
    assert seen == [moves, 1, 7, moves]


def test_a_result_depends_on_its_own_key_and_image_alone(tiny):
    x0, config = images_of(tiny, 5), code_jax.EditConfig(program=SMALL)
    keys = jax.random.split(jax.random.key(1), 5)
    result = code_jax.edit(keys, tiny, x0, config).images
    order = jnp.array([3, 0, 4, 2, 1])
    np.testing.assert_array_equal(code_jax.edit(keys[order], tiny, x0[order], config).images, result[order])
    padded = code_jax.edit(keys, tiny, x0.at[1:].set(0), config).images
    np.testing.assert_array_equal(padded[0], result[0])
