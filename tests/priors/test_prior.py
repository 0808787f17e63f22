import jax
import jax.numpy as jnp
import numpy as np
import pytest

import code_jax


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8, 6), (8, 8)])
def test_an_answer_of_another_shape_is_named(shape):
    wrong = lambda params, x, t: jnp.zeros((len(x), *shape))  # noqa: E731
    prior = code_jax.Prior.from_function(wrong, (), code_jax.linear_schedule(), (8, 8, 3))
    with pytest.raises(code_jax.UserError, match=r"gives \(2, 8, 8.*for images of \(2, 8, 8, 3\)"):
        code_jax.edit(jax.random.key(0), prior, jnp.zeros((2, 8, 8, 3)))


def test_a_list_is_a_shape_too_and_a_prior_is_told_in_a_line(tiny):
    own = code_jax.Prior.from_function(lambda params, x, t: 0 * x, jnp.zeros(7), code_jax.linear_schedule(), [8, 8, 3])
    assert code_jax.edit(jax.random.key(0), own, jnp.zeros((1, 8, 8, 3))).images.shape == (1, 8, 8, 3)
    assert repr(own) == "Prior(image_shape=(8, 8, 3), VariancePreserving, 7 parameters)"
    assert len(repr(tiny)) < 100


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda params, x, t: (x, t), "gives a tuple; it must give one JAX array"),
        (lambda params, x, t: np.zeros((1, 8, 8, 3), np.float32), "gives a NumPy array; it must give one JAX array"),
        (lambda params, x, t: jnp.asarray(np.tanh(np.asarray(x))), "gives JAX's arrays to NumPy; compute with jax.numpy"),
        (lambda params, x, t: None, "gives a NoneType; it must give one JAX array"),
    ],
)
def test_a_function_that_gives_something_else_is_told_in_a_line(function, named):
    prior = code_jax.Prior.from_function(function, (), code_jax.linear_schedule(), (8, 8, 3))
    with pytest.raises(code_jax.UserError, match=named):
        code_jax.edit(jax.random.key(0), prior, jnp.zeros((1, 8, 8, 3)))
