"""A prior's hash is of what it is."""

import dataclasses

import jax
import numpy as np

import code_jax
from code_jax.diffusion.scaling import VariancePreserving
from code_jax.models.unet import UNet2DModel
from code_jax.priors.hash import prior_hash
from code_jax.priors.prior import NetworkOutput


def test_the_hash_is_that_of_the_content(tiny, folder, tmp_path):
    same = prior_hash(tiny)
    assert len(same) == 64 and int(same, 16)
    code_jax.save_prior(tiny, tmp_path / "ours", format="orbax")
    loaded = code_jax.load_prior(folder), code_jax.load_prior(tmp_path / "ours"), tiny.with_precision("bfloat16")
    assert {prior_hash(prior) for prior in loaded} == {same}

    flat, tree = jax.tree.flatten(tiny.params)
    flat[0] = flat[0].at[(0,) * flat[0].ndim].add(1e-6)
    other_weight = tiny.replace(params=jax.tree.unflatten(tree, flat))
    other_schedule = tiny.replace(scaling=VariancePreserving(code_jax.cosine_schedule()))
    config = dataclasses.replace(tiny.function.network.config, norm_eps=1e-4)
    other_config = tiny.replace(function=NetworkOutput(UNet2DModel(config)))
    other_type = tiny.replace(scaling=VariancePreserving(tiny.schedule, "v_prediction"))
    others = [other_weight, other_schedule, other_config, other_type, tiny.replace(data_range=2.0)]
    assert len({same, *map(prior_hash, others)}) == 6


def test_the_hash_of_a_function_of_one_s_own():
    schedule = code_jax.linear_schedule()
    make = lambda scale: code_jax.Prior.from_function(_own, (np.float32(scale),), schedule, (8, 8, 3))  # noqa: E731
    assert prior_hash(make(1)) == prior_hash(make(1)) != prior_hash(make(2))


def _own(params, x, t):
    return x * params[0]
