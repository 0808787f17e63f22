"""What a page may choose from, as data: priors, methods with their settings and presets, samples, corruptions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

import code_jax
from code_jax.corruptions import NAMES
from code_jax.demo.order import Offer, Pace
from code_jax.demo.request import MOST_SAMPLES
from code_jax.editing import methods
from code_jax.editing.options import OPTIONS, Option
from code_jax.editing.presets import usual
from code_jax.editing.settings import to_plain
from code_jax.priors.hash import prior_hash
from code_jax.priors.load import bundled_samples, load_prior
from code_jax.priors.prior import Prior

_SAME = {"depth": "sigma", "step_size": "relative_step"}  # another name for what is offered already
_LEFT_OUT = ("preset",)  # a choice of its own
_SYMBOLS = {"sigma": "σ", "eta": "η", "ode steps": "ODE steps"}
_SLIDERS = {  # least, most, and whether in powers of ten; more can be typed
    "sigma": (0.05, 20, True),
    "depth": (0.02, 1, False),
    "relative_step": (0.001, 0.5, True),
    "eta": (0.5, 4, False),
}


def load_offers(names: Sequence[str], precision: str) -> dict[str, Offer]:
    """The priors of these names; raises UserError for one that cannot be had."""
    priors = {name: load_prior(name, precision=precision) for name in names}
    return {name: Offer(name, prior, prior_hash(prior), precision, Pace()) for name, prior in priors.items()}


def options_of(offers: Mapping[str, Offer]) -> dict[str, Any]:
    """What the page is built from, as JSON."""
    return {
        "version": code_jax.__version__,
        "device": jax.devices()[0].device_kind,
        "priors": {name: list(offer.prior.image_shape) for name, offer in offers.items()},
        "labels": {name: _labels(offer.prior) for name, offer in offers.items() if offer.prior.classes},
        "methods": {name: _method(methods.find(name)) for name in methods.names()},
        "controls": {name: _control(option) for name, option in OPTIONS.items() if name not in _LEFT_OUT},
        "samples": [path.name for path in bundled_samples()],
        "most_samples": MOST_SAMPLES,
        "usual_presets": [usual(masked=masked) for masked in (False, True)],
        "corruptions": list(NAMES),
    }


def _labels(prior: Prior) -> dict[str, Any]:
    """The greatest label of a prior with classes, and whether it knows pictures without one."""
    return {"most": prior.classes - 1, "optional": prior.null_class is not None}


def _method(method: methods.Method) -> dict[str, Any]:
    """What a method takes and can do, and its settings by preset."""
    controls = [name for name in method.options if name not in _LEFT_OUT and _SAME.get(name) not in method.options]
    presets = OPTIONS["preset"].kinds if "preset" in method.options else ("",)
    values = {preset: to_plain(method.configure({"preset": preset} if preset else {})) for preset in presets}
    return {
        "about": method.about,
        "controls": controls,
        "presets": {preset: {name: plain.get(name, "") for name in controls} for preset, plain in values.items()},
        "masks": method.masks,
        "tiles": method.tiles,
        "pyramid": method.tiles and method.finer is not None,
    }


def _control(option: Option) -> dict[str, Any]:
    """How a setting is shown."""
    words = (option.word or option.name).replace("-", " ").replace("_", " ")
    label = _SYMBOLS.get(words, words[0].upper() + words[1:])
    control: dict[str, Any] = {"label": label, "about": option.about, "kinds": option.kinds, "detail": option.detail}
    control["whole"] = option.whole
    numeric = option.holds is not None and not option.whole
    control["off"] = "none" if numeric and bool(np.all(option.holds(np.asarray(math.inf)))) else None  # type: ignore[misc]
    if option.name in _SLIDERS:
        control |= dict(zip(("least", "most", "logarithmic"), _SLIDERS[option.name], strict=True))
    return control
