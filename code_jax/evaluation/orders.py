"""The named tables: their rows with the settings to choose from, corruptions, and numbers of pictures.

``tests/benchmarks/README.md`` states the protocol that they follow. A word after a row is a program to choose from, as
``OPTION=V,V:OPTION=V``; every combination of its numbers is a setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from code_jax.corruptions.registry import NAMES
from code_jax.editing.operators import OPERATORS

TEN = (  # of every family one or two: what costly rows are measured on
    *("gaussian_noise", "impulse_noise", "gaussian_blur", "motion_blur", "fog", "contrast"),
    *("jpeg_compression", "pixelate", "masking_random_color", "concentric_sine_waves"),
)


class Order(NamedTuple):
    """A table to make.

    Attributes:
        about: what it shows, in a line.
        rows: by name, each with the programs to choose from; none is the row's own.
        against: the row that is compared with every other.
        corruptions: names.
        images, costly_images, tuning_images: for each corruption.
        protocols: how settings are chosen.
        leave: whether leaving the pictures as they are is a choice of every row.
    """

    about: str
    rows: Mapping[str, tuple[str, ...]]
    against: str
    corruptions: tuple[str, ...] = tuple(NAMES)
    images: int = 64
    costly_images: int = 16
    tuning_images: int = 2
    protocols: tuple[str, ...] = ("oracle", "blind")
    leave: bool = False


_CODE = "sigma=0.35,0.52,0.72,1.24:relative_step=0.1,0.2,0.4"
_DEPTHS = "depth=0.05,0.1,0.15,0.2,0.3,0.4"

ORDERS: dict[str, Order] = {
    "equal-cost": Order(
        "12 settings of 23 to 25 evaluations for every method, and leaving the picture as it is",
        {
            "inputs": (),
            "ddim": ("num_steps=11:sigma=0.1,0.2,0.35,0.45,0.52,0.6,0.72,0.9,1.24,1.6,2,3",),
            "ddim+cbc": ("num_steps=11:sigma=0.35,0.52,0.72,1.24:eta=0.5,1,1.7",),
            "invert2restore": tuple(f"num_steps=11:p_value={p}:sigma=1.24,3,12,68" for p in (0.01, 0.05, 0.2)),
            "dreamclean": ("num_steps=8:sigma=0.35,0.52,0.72,1.24:relative_step=0.02,0.05,0.2",),
            "sdedit": (f"num_steps=23:{_DEPTHS}", f"repeats=3:num_steps=7:{_DEPTHS}"),
            "code-cbc": (_CODE,),
            "code": (_CODE,),
        },
        against="code",
        leave=True,
    ),
    "as-published": Order(
        "every method as its paper has it; numbers of steps are those of the papers, levels go with the prior's timesteps",
        {
            "inputs": (),
            "ddim": ("num_steps=200:depth=0.5",),
            "invert2restore": (),
            "dreamclean": (),
            "diip": (),
            "bir_d": (),
            "sdedit": ("num_steps=500:depth=0.5:grid=time",),
            "official": (),
            "official+cbc": (),
            "code": (),
        },
        against="code",
        corruptions=TEN,
        images=16,
        protocols=("blind",),
    ),
    "upper-bound": Order(
        "methods that are told the damage, on linear damage, beside blind ones at their defaults",
        {
            "inputs": (),
            "sdedit": (),
            "dreamclean": (),
            "code": (),
            "bird": (),
            "dps": (),
            "diffpir": (),
        },
        against="code",
        corruptions=tuple(OPERATORS),
        images=16,
        protocols=("blind",),
    ),
}
