"""Files of weights whose format follows from what is in them: NVlabs' pickles, score_sde, DiT, EDM, guided-diffusion."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from checkpoints_convert.contents import Contents
from checkpoints_convert.dit import convert_dit, is_dit
from checkpoints_convert.edm import convert_bare_edm, is_edm
from checkpoints_convert.guided_diffusion import GuidedDiffusion, convert_guided_diffusion
from checkpoints_convert.latent import read_codec
from checkpoints_convert.nvlabs import SUFFIX, read_nvlabs
from checkpoints_convert.score_sde import ScoreSDE, averaged, convert_score_sde, is_score_sde
from checkpoints_convert.tensors import read_tensors
from code_jax.errors import UserError

State = Mapping[str, np.ndarray]


def read_file(path: str | Path, **facts: Any) -> Contents:
    """What a file of weights holds; `facts` are what its format's weights do not tell, and the folder of a latent one's codec.

    Raises:
        UserError: names the file, and what is of no known format, does not fit, or a fact that is not one of its format.
    """
    if "codec" in facts:
        facts["codec"] = read_codec(Path(facts["codec"]))
    if Path(path).suffix == SUFFIX:
        _check(facts, ("codec",), "NVlabs' pickles")
        return read_nvlabs(path, **facts)
    state = read_tensors(path, averaged)
    try:
        return _convert(state, facts)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _convert(state: State, facts: Mapping[str, Any]) -> Contents:
    for recognized, kind, wanted, convert in _FORMATS:
        if recognized(state):
            _check(facts, wanted, kind)
            return convert(state, **facts)
    raise UserError("these are weights of no known format: guided-diffusion, score_sde, EDM, EDM2, DiT")


def _check(facts: Mapping[str, Any], wanted: tuple[str, ...], kind: str) -> None:
    if others := sorted(set(facts) - set(wanted)):
        told = f"only {', '.join(wanted)} can be told" if wanted else "nothing is left to be told"
        raise UserError(f"{others[0]} is no fact of {kind}: {told}")


def _names(facts: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(facts))


_FORMATS: tuple[tuple[Callable[[State], bool], str, tuple[str, ...], Callable[..., Contents]], ...] = (
    (is_score_sde, "score_sde weights", _names(ScoreSDE), lambda state, **facts: convert_score_sde(state, ScoreSDE(**facts))),
    (is_dit, "DiT weights", ("num_heads", "codec"), convert_dit),
    (is_edm, "EDM weights", ("precondition",), convert_bare_edm),
    (
        lambda state: any("input_blocks.0.0." in name for name in state),
        "guided-diffusion weights",
        _names(GuidedDiffusion),
        lambda state, **facts: convert_guided_diffusion(state, GuidedDiffusion(**facts)),
    ),
)
