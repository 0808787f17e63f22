"""The settings that methods take, each once: its name, how it is read from text, which values are allowed, what it is.

The command line's options, the page's fields, the checks, and what is written of settings all come from this table. Knows no JAX.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from code_jax.diffusion import solvers
from code_jax.errors import UserError, brief, choose

MOST = 100_000  # of any count


class Option(NamedTuple):
    """A setting.

    Attributes:
        name: in Python and in what is written.
        read: from text; raises ValueError with a reason.
        holds: whether values are allowed, of an array.
        wanted: which are, in words.
        about: what it is, in a line of help.
        kinds: names to choose from, for one that is a name.
        word: of the command line, where it is not the name.
        shown: what stands for its value in help.
        detail: whether it is needed seldom.
        whole: whether it is a count.
    """

    name: str
    read: Callable[[str], Any]
    holds: Callable[[np.ndarray], Any] | None
    wanted: str
    about: str
    kinds: tuple[str, ...] = ()
    word: str = ""
    shown: str = "X"
    detail: bool = False
    whole: bool = False

    @property
    def flag(self) -> str:
        """Of the command line."""
        return "--" + (self.word or self.name).replace("_", "-")

    def check(self, value: Any) -> Any:
        """The value; raises UserError, which names it, where it is not allowed."""
        if self.kinds:
            choose(self.name, value, dict.fromkeys(self.kinds))
        elif self.whole:
            good = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
            if not good or not bool(np.all(self.holds(np.asarray(value)))):  # type: ignore[misc]
                raise UserError(f"{self.name} is {brief(value)}; it must be {self.wanted}")
        elif self.holds is not None:
            try:
                numbers = np.asarray(math.inf if value is None else value, float)
            except (TypeError, ValueError, OverflowError) as error:
                raise UserError(f"{self.name} is {brief(value)}; it must be {self.wanted}") from error
            if not np.all(self.holds(numbers)):
                raise UserError(f"{self.name} is {numbers.tolist()}; it must be {self.wanted}")
        return value


def number(text: str) -> float:
    """A float."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{brief(text)} is not a number") from None


def numbers(text: str) -> list[float]:
    """Floats between commas."""
    return [number(part) for part in text.split(",")]


def number_or_none(text: str) -> float:
    """A float, or none for infinity."""
    return math.inf if text == "none" else number(text)


def numbers_or_none(text: str) -> list[float] | None:
    """Floats between commas, or none."""
    return None if text == "none" else numbers(text)


def count(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{brief(text)} is not a whole number") from None


def names(text: str) -> list[str]:
    """Names between commas."""
    return [part for part in text.split(",") if part]


def _between(low: float, high: float, ends: str = "()") -> tuple[Callable[[np.ndarray], Any], str]:
    """Numbers from one end to another, of which ``[`` and ``]`` are allowed themselves; and what a message says of them."""
    above, below = np.greater_equal if ends[0] == "[" else np.greater, np.less_equal if ends[1] == "]" else np.less
    return lambda values: above(values, low) & below(values, high), f"in {ends[0]}{low:g}, {high:g}{ends[1]}"


def _confidence(values: np.ndarray) -> Any:
    return _POSITIVE[0](values) | (values == math.inf)


def _threshold(values: np.ndarray) -> Any:
    if values.ndim == 0 and values == math.inf:  # none
        return True
    return values.shape[:1] == (2,) and bool(np.all(_SHARE[0](values[:1]) & _LARGE[0](values[1:])))


def _counts(least: int) -> tuple[Callable[[np.ndarray], Any], str]:
    return lambda value: (value >= least) & (value <= MOST), f"a whole number from {least} to {MOST}"


_LARGEST = 1e30  # float32 must hold its square
_POSITIVE, _NOT_NEGATIVE, _LARGE = _between(0, _LARGEST), _between(0, _LARGEST, "[)"), _between(1, _LARGEST, "[)")
_SHARE = _between(0, 1, "(]")

PRESETS = ("default", "local", "global", "fill")
GRIDS = ("time", "geometric", "rho")
LINEAR = ("linear_blur", "linear_downsample", "linear_mask")
KINDS = ("variance_preserving", "unadjusted", "averaged")

_TABLE = (
    Option("preset", str, None, "", "local: blur; global: fog; fill: under a mask", PRESETS, shown="NAME"),
    Option("sigma", numbers, *_POSITIVE, "noise level, for images in [-1, 1]; or several, deepest first", shown="X,X"),
    Option("depth", numbers, *_SHARE, "the same as a fraction of the training timesteps", shown="X,X", detail=True),
    Option("relative_step", numbers, *_POSITIVE, "Langevin step h/(1 - alpha_bar), one or one a level", shown="X,X"),
    Option("step_size", numbers, *_POSITIVE, "the same as the absolute h", shown="X,X", detail=True),
    Option("eta", number_or_none, _confidence, f"{_POSITIVE[1]}, or none", "confidence of the clipping, or none", shown="X|none"),
    Option("langevin_steps", count, *_counts(0), "Langevin steps at each level", shown="N", whole=True),
    Option("num_steps", count, *_counts(1), "steps of the ODE each way", word="ode-steps", shown="N", whole=True),
    Option("anneal_rate", number, *_SHARE, "factor between levels of the step size", detail=True),
    Option("anneal_levels", count, *_counts(1), "levels of the step size", shown="N", detail=True, whole=True),
    Option("langevin", str, None, "", "kind of the Langevin steps", KINDS, shown="KIND", detail=True),
    Option("repeats", count, *_counts(1), "times that noise is added and taken away", shown="N", detail=True, whole=True),
    Option("solver", str, None, "", "of the ODE", solvers.names(), shown="NAME", detail=True),
    Option("grid", str, None, "", "of the ODE's noise levels", GRIDS, shown="NAME", detail=True),
    Option("input_noise", number, *_NOT_NEGATIVE, "noise given to the input, in units of sigma_0", detail=True),
    Option("dynamic_threshold", numbers_or_none, _threshold, f"two numbers, a quantile {_SHARE[1]} and s_max {_LARGE[1]}",
           "quantile and s_max, or none", shown="P,S", detail=True),
    Option("guidance", number, *_NOT_NEGATIVE, "weight of --label's class against none", detail=True),
    Option("p_value", number, *_between(0, 1), "share of likely noise that is taken for unlikely", detail=True),
    Option("patch", count, *_counts(2), "side of a patch of noise", shown="N", detail=True, whole=True),
    Option("iterations", count, *_counts(1), "of a fit, at most", shown="N", detail=True, whole=True),
    Option("least_iterations", count, *_counts(1), "of a fit, before it may stop", shown="N", detail=True, whole=True),
    Option("learning_rate", number, *_POSITIVE, "of a fit, by Adam", detail=True),
    Option("tolerance", number, *_between(0, 1, "[)"), "fall of the error at which a fit stops", detail=True),
    Option("operator", str, None, "", "the damage, of methods that are told it", LINEAR, shown="NAME", detail=True),
    Option("input_guidance", number, *_POSITIVE, "of each step towards the input", detail=True),
    Option("noise", number, *_POSITIVE, "standard deviation of the input's noise", detail=True),
    Option("prior_weight", number, *_POSITIVE, "of the prior's mean beside the input", detail=True),
    Option("zeta", number, *_between(0, 1, "[]"), "share of fresh noise in a step", detail=True),
    Option("kernel", count, *_counts(1), "side of a learned kernel", shown="N", detail=True, whole=True),
    Option("kernel_rate", number, *_POSITIVE, "learning rate of a learned kernel", detail=True),
    Option("without_quirks", names, None, "", "departures of the published program left out, or all", shown="A,B", detail=True),
    Option("with_quirks", names, None, "", "departures that it has and switches off", shown="A,B", detail=True),
)  # fmt: skip
OPTIONS = {option.name: option for option in _TABLE}


def read_options(texts: dict[str, str], wanted: Sequence[str]) -> dict[str, Any]:
    """Values of those of the texts that are wanted and not empty.

    Raises:
        UserError: names the option and the text.
    """
    values = {}
    for name in wanted:
        if texts.get(name) not in (None, ""):
            try:
                values[name] = OPTIONS[name].check(OPTIONS[name].read(texts[name]))
            except ValueError as error:
                raise error if isinstance(error, UserError) else UserError(f"{name}: {error}") from error
    return values
