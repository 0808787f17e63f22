"""Routes of all images alike, run as they are."""

import jax
import jax.numpy as jnp

from code_jax.editing.route import init, run


def followed(keys, denoiser, route, z, last=None):
    """The state of images z [B, H, W, C] after the first moves of a route of one image, or after all of them."""
    route = jax.tree.map(lambda column: jnp.tile(column, (len(z), 1)), route)
    projections = route.projections(denoiser, None)
    state = init(z, jnp.full((len(z), 1, 1, 1), route.sigma[0, 0]), route, projections)
    return run(keys, denoiser, route, projections, state, 0, len(route.kinds) if last is None else last)
