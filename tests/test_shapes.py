"""The shapes in public signatures, against which every call is held here: ``CHECK_SHAPES=1 pytest -m shapes``."""

import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError, jaxtyped

import code_jax
from code_jax import metrics
from code_jax.editing import methods
from tests.oracles import gaussian
from tests.priors.linear_codec import Blocks

pytestmark = pytest.mark.shapes

PRIOR = gaussian(jnp.zeros((4, 4, 3)), jnp.ones((4, 4, 3)))
KEY, IMAGES = jax.random.key(0), jnp.zeros((2, 4, 4, 3))


@pytest.mark.parametrize(
    "call",
    [
        # Broadcasting makes images of them all.
        lambda: code_jax.langevin_step(PRIOR, IMAGES, 500.0, 0.1, jnp.zeros((2, 4, 4, 1))),
        lambda: code_jax.langevin_step(PRIOR, IMAGES[:1], 500.0, 0.1, IMAGES),
        lambda: code_jax.clip_to_confidence(jnp.zeros(3), jnp.full((2, 1), 0.5), 2.0),
    ],
)
def test_a_wrong_shape_is_caught(call):
    with pytest.raises(TypeCheckError):
        call()


def of_pixels(shape):
    return gaussian(jnp.zeros(shape), jnp.ones(shape))


PRIORS = {
    "pixels": of_pixels((4, 4, 3)),
    "tiles": code_jax.tiled(of_pixels((4, 4, 3)), (5, 7), chunk=2),
    "latents": of_pixels((2, 2, 12)).with_codec(Blocks.of((4, 4, 3)), (4, 4, 3)).replace(data_range=(1.0,) * 12),
}


@pytest.mark.parametrize("name", methods.names())
@pytest.mark.parametrize("kind", PRIORS)
def test_every_method_has_the_shapes_that_it_says(name, kind):
    """Traced, not compiled: shapes are known by then."""
    method, prior = methods.find(name), PRIORS[kind]
    if kind == "tiles" and not method.tiles:
        pytest.skip("it takes no tiles")
    few = {"num_steps": 3, "langevin_steps": 4, "iterations": 2, "least_iterations": 1}
    settings = method.configure({option: value for option, value in few.items() if option in method.options})
    mask = jnp.ones(prior.image_shape[:2], bool) if method.masks else None
    images = jax.ShapeDtypeStruct((2, *prior.image_shape), jnp.float32)
    found = jax.eval_shape(lambda key, images: code_jax.edit(key, prior, images, settings, mask), KEY, images)
    assert found.images.shape == images.shape and found.info.nfe.shape == (2,)


def test_a_users_mistake_gets_its_own_line():
    with pytest.raises(code_jax.UserError, match=r"images are uint8; scale them to \[-1, 1\]"):
        code_jax.edit(KEY, PRIOR, np.zeros((2, 4, 4, 3), np.uint8))
    with pytest.raises(code_jax.UserError, match="key is not a typed PRNG key"):
        code_jax.edit(jnp.zeros(2, jnp.uint32), PRIOR, IMAGES)


def _fields(record):
    """(value, annotation) of a record's arrays, those of records within it as well."""
    for name, hint in typing.get_type_hints(type(record), include_extras=True).items():
        value = getattr(record, name)
        yield from _fields(value) if hasattr(value, "_fields") else [(value, hint)]


def _holds(value, hint):
    return any(isinstance(value, option) for option in typing.get_args(hint) or [hint])


@pytest.mark.parametrize(
    "record",
    [
        lambda: code_jax.edit(KEY, PRIOR, IMAGES),
        lambda: code_jax.edit(KEY, PRIOR, IMAGES[0]),
        lambda: code_jax.log_likelihood(KEY, PRIOR, IMAGES, num_steps=2),
        lambda: metrics.principal_directions(metrics.moments_update(metrics.moments_init(2), np.eye(3, 2)), 1),
    ],
)
def test_a_record_is_what_its_fields_say(record):
    with jaxtyped("context"):
        assert [hint for value, hint in _fields(record()) if not _holds(value, hint)] == []
