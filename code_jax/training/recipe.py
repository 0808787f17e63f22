"""What a training is: the network, the noise schedule, the loss and the optimizer, by name or from a JSON file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from code_jax.diffusion.parameterization import check_prediction_type
from code_jax.diffusion.schedule import NoiseSchedule, cosine_schedule, linear_schedule
from code_jax.documents import read_json
from code_jax.errors import UserError, brief
from code_jax.models.config import UNet2DConfig
from code_jax.models.options import number, whole

SCHEDULES = {"linear": linear_schedule, "cosine": cosine_schedule}
AUGMENTATIONS = ("none", "flips", "turns")
OPTIMIZERS = ("adamw", "muon")
_MOST_AT_A_TIME = 100_000  # pictures, which are no less than 5 GB at 64×64
_LEAST, _MOST = 1e-30, 1e30  # of a positive number, with room to float32's smallest and largest
_LONGEST = 0.999999  # decay of an average, which is of a million steps


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A training, hashable: two equal recipes are one compiled step.

    Attributes:
        schedule: noise schedule, "linear" or "cosine", of 1000 timesteps.
        prediction_type: "epsilon", "v_prediction" or "sample".
        min_snr_gamma: γ of min-SNR weighting; None is the plain squared error. In v-prediction a γ leaves the highest noise
            levels, where a sample gets its colours and layout, next to no weight: min(SNR, γ)/(SNR + 1).
        batch_size: pictures a step, all devices together.
        steps: steps in all; the learning rate depends on the share of them that is done.
        optimizer: "adamw", or "muon": Muon for hidden matrices and AdamW for the rest (`code_jax.training.step.optimizer`).
        learning_rate: peak; a linear warm-up, then a cosine to zero.
        hold: in place of the cosine: the share of the steps after which the learning rate, held until then, falls linearly to
            zero.
        warmup: steps spent warming up.
        weight_decay, clip_norm: of the optimizer, and the global norm that gradients are clipped to.
        lower_half: share of the timesteps drawn from the lower half, the cleaner one; uniform within each half. 0.5 is uniform.
        ema_decay: decay of the moving average once warmed up.
        augment: "none", "flips" (left-right) or "turns" (the eight symmetries of the square: for data without an up).

    Raises:
        UserError: names the value that is out of its range.
    """

    schedule: str = "linear"
    prediction_type: str = "v_prediction"
    min_snr_gamma: float | None = None
    batch_size: int = 8
    steps: int = 100_000
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    hold: float | None = None
    warmup: int = 200
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    lower_half: float = 0.5
    augment: str = "flips"

    def __post_init__(self) -> None:
        check_prediction_type(self.prediction_type)
        for name, kinds in (("schedule", tuple(SCHEDULES)), ("augment", AUGMENTATIONS), ("optimizer", OPTIMIZERS)):
            if getattr(self, name) not in kinds:
                raise UserError(f"{name} {brief(getattr(self, name))} is unknown; choose from {', '.join(kinds)}")
        for name, least, most in (("batch_size", 1, _MOST_AT_A_TIME), ("steps", 1, 10**9), ("warmup", 0, 10**9)):
            whole(name, getattr(self, name), most, least)
        for name, low, high in (
            ("learning_rate", _LEAST, _MOST), ("clip_norm", _LEAST, _MOST), ("min_snr_gamma", _LEAST, _MOST),
            ("weight_decay", 0.0, _MOST), ("hold", 0.0, 1.0), ("lower_half", 0.0, 1.0), ("ema_decay", 0.0, _LONGEST),
        ):  # fmt: skip
            if getattr(self, name) is not None or name not in ("min_snr_gamma", "hold"):
                number(name, getattr(self, name), low, high)

    def noise_schedule(self) -> NoiseSchedule:
        """The `NoiseSchedule` of its name."""
        return SCHEDULES[self.schedule]()


# small, pictures: what two CPU cores train in hours (of one kind of picture; of several, as `pictures-64` is); base: an
# accelerator in hours; celebahq-256: the published network.
_SMALL = UNet2DConfig(
    sample_size=(64, 64),
    block_out_channels=(16, 48, 96, 160),
    down_block_types=("DownBlock2D",) * 3 + ("AttnDownBlock2D",),
    up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * 3,
    layers_per_block=1,
    norm_num_groups=8,
    attention_head_dim=32,
)
NETWORKS = {
    "small": _SMALL,
    "pictures": dataclasses.replace(
        _SMALL,
        down_block_types=("DownBlock2D",) * 2 + ("AttnDownBlock2D",) * 2,
        up_block_types=("AttnUpBlock2D",) * 2 + ("UpBlock2D",) * 2,
    ),
    "base": dataclasses.replace(_SMALL, block_out_channels=(64, 128, 192, 256), layers_per_block=2, norm_num_groups=32),
    "celebahq-256": UNet2DConfig(
        sample_size=(256, 256),
        block_out_channels=(128, 128, 256, 256, 512, 512),
        down_block_types=("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
        norm_eps=1e-6,
        attention_head_dim=None,
    ),
}
RECIPES = {
    "small": Recipe(),
    "pictures": Recipe(
        optimizer="muon",
        batch_size=16,
        steps=62_500,  # a million pictures
        learning_rate=5e-4,
        hold=0.8,
        warmup=500,
        weight_decay=0.01,
        ema_decay=0.9995,
        lower_half=0.85,
    ),
    "base": Recipe(batch_size=64, learning_rate=3e-4, warmup=1000, ema_decay=0.9995, steps=200_000),
    "celebahq-256": Recipe(
        prediction_type="epsilon",
        batch_size=64,
        learning_rate=2e-5,
        warmup=5000,
        weight_decay=0.0,
        ema_decay=0.9999,
        steps=500_000,
    ),
}


def find_recipe(name: str) -> tuple[UNet2DConfig, Recipe]:
    """The network and the recipe of a name in `RECIPES`, or of a JSON file {"network": {…}, "recipe": {…}}.

    "network" is what diffusers' ``config.json`` of a ``UNet2DModel`` holds; "recipe" has attributes of `Recipe`, all optional.

    Raises:
        UserError: for an unknown name, and for an option that is unknown or out of its range.
    """
    if name in RECIPES:
        return NETWORKS[name], RECIPES[name]
    if not Path(name).is_file():
        raise UserError(f"no recipe {name!r}: give {', '.join(RECIPES)}, or a JSON file")
    content = read_json(Path(name))
    unknown = sorted(set(content) - {"network", "recipe"})
    network, recipe = content.get("network"), content.get("recipe", {})
    if unknown or not isinstance(network, dict) or not isinstance(recipe, dict):
        more = f", not {brief(unknown[0])}" if unknown else ""
        raise UserError(f'{name} must hold {{"network": {{…}}, "recipe": {{…}}}}{more}')
    return UNet2DConfig.from_diffusers(network), override(Recipe(), recipe)


def override(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with some of its attributes changed; raises UserError for a name that it does not have."""
    known = {field.name for field in dataclasses.fields(Recipe)}
    for name in values:
        if name not in known:
            raise UserError(f"a recipe has no {brief(name)}; it has {', '.join(sorted(known))}")
    return dataclasses.replace(recipe, **values)
