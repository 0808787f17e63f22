"""Names of version 0.1 that are others now: whoever asks for an old one is told the new one, and nothing else changes."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import Any, NoReturn

MODULES = {
    "code_jax.batch": "code_jax.runs (folders in and out), code_jax.pictures (files) and code_jax.devices",
    "code_jax.diffusion.probability_flow": "code_jax.diffusion.levels and code_jax.diffusion.solvers",
    "code_jax.editing.confidence": "code_jax.diffusion.projections",
    "code_jax.editing.config": "code_jax.editing.settings and code_jax.editing.presets",
    "code_jax.editing.devices": "code_jax.devices",
    "code_jax.editing.method": "code_jax.editing.methods",
    "code_jax.editing.official": "code_jax.editing.methods.official",
    "code_jax.editing.region": "code_jax.editing.masks",
    "code_jax.evaluation.method": "code_jax.evaluation.entry",
    "code_jax.images": "code_jax.pictures.arrays and code_jax.pictures.pil",
    "code_jax.provenance": "code_jax.pictures.provenance",
}
_NUMBERS = ("depth", "step_size", "eta", "anneal_rate")
ATTRIBUTES = MODULES | {f"SweepPoint.{name}": f'dict(point.numbers)["{name}"], where it is swept' for name in _NUMBERS}
OPTIONS = {
    "code-jax evaluate --depth": "--set depth=A,B",
    "code-jax evaluate --eta": "--set eta=X",
    "code-jax evaluate --langevin-steps": "--set langevin_steps=N",
    "code-jax evaluate --ode-steps": "--set num_steps=N, of one method --set code.num_steps=N",
    "code-jax evaluate --official-images": "--costly-images",
    "code-jax evaluate --preset": "--set preset=NAME",
    "code-jax evaluate --relative-step": "--set relative_step=A,B",
    "code-jax evaluate --sdedit-steps": "--set sdedit.num_steps=N",
}


def missing(owner: str, name: str) -> NoReturn:
    """Raises AttributeError for a name that its owner does not have, with the new one of an old name."""
    instead = ATTRIBUTES.get(f"{owner}.{name}")
    raise AttributeError(f"{owner!r} has no attribute {name!r}" + (f"; it is now {instead}" if instead else ""))


class _Finder(MetaPathFinder):
    """Asked last, for a module that nobody else has found."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        """Raises ImportError for an old name."""
        if fullname in MODULES:
            raise ImportError(f"{fullname} is now {MODULES[fullname]}", name=fullname)


def tell() -> None:
    """Has imports of old names told the new ones."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
