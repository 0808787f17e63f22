import jax
import jax.numpy as jnp
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
