"""Programs that are compiled with options for this machine, and what they are within others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from code_jax.devices import compiler

KNOWN, UNKNOWN = {"xla_cpu_prefer_vector_width": "256"}, {"xla_cpu_enable_what_there_is_not": "true"}


@pytest.fixture
def told(monkeypatch):
    """Options of this test's own, whatever the processor."""

    def tell(options):
        compiler.compiler_options.cache_clear()
        monkeypatch.setattr(compiler, "_BY_EIGEN", options)
        monkeypatch.setattr(compiler, "_by_itself", lambda: False)

    yield tell
    compiler.compiler_options.cache_clear()


@pytest.fixture
def square():
    return compiler.jit(lambda x, power=2: x**power, static_argnames="power")


def test_a_program_is_told_the_options_that_the_compiler_knows(told, square):
    told(KNOWN)
    assert compiler.compiler_options() == KNOWN
    assert square(3.0) == 9.0 and square(2.0, power=3) == 8.0 and square.lower(3.0).compile()(3.0) == 9.0


def test_an_option_that_the_compiler_does_not_know_is_not_told(told, square):
    told(UNKNOWN)
    assert compiler.compiler_options() is None and square(3.0) == 9.0


def test_within_another_program_it_is_a_part_of_that(told, square):
    told(KNOWN)
    assert jax.jit(lambda x: square(x) + 1)(3.0) == 10.0
    assert jax.jit(lambda: square(jnp.float32(3)))() == 9.0
    assert jax.grad(square)(3.0) == 6.0 and jax.jit(jax.grad(square))(3.0) == 6.0
    np.testing.assert_array_equal(jax.vmap(square)(jnp.arange(3.0)), [0, 1, 4])
    assert jax.eval_shape(square, jnp.zeros(2)).shape == (2,)


def test_it_is_described_as_its_function():
    def function():
        """What it does."""

    assert compiler.jit(function).__doc__ == "What it does."
