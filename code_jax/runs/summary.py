"""What a run did, in numbers."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from code_jax.pictures.files import read_picture
from code_jax.pictures.loading import PictureError
from code_jax.runs.lines import Line
from code_jax.storage.address import Place


@dataclasses.dataclass
class Summary:
    """What a run did.

    Attributes:
        done: results made.
        kept: results of an earlier run that hold.
        failed: inputs, or samples of them, that failed, now or in an earlier run.
        seconds: of the whole run.
        waited: share of the time since the first batch began in which the device had nothing to do.
        nfe: network evaluations of a result: the fewest and the most.
        before, after: PSNR to the clean source, of each result that has one.
        fidelity: PSNR to its input, of each result that differs from it.
        codec: PSNR of what a latent prior's codec alone gives back of the input, of each result.
        bits: per dimension before and after, of each result that they are known of.
        diversity: `diversity_of` the samples of each input that has several.
        signal: of an interruption.
    """

    done: int = 0
    kept: int = 0
    failed: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    nfe: tuple[int, int] = (0, 0)
    before: list[float] = dataclasses.field(default_factory=list)
    after: list[float] = dataclasses.field(default_factory=list)
    fidelity: list[float] = dataclasses.field(default_factory=list)
    codec: list[float] = dataclasses.field(default_factory=list)
    bits: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    diversity: list[float] = dataclasses.field(default_factory=list)
    signal: int | None = None

    def count(self, line: Line) -> None:
        """Adds what a line of the manifest says, but not to `done` or `kept`."""
        self.failed += line["status"] == "failed"
        if "nfe" in line:
            fewest, most = self.nfe
            self.nfe = min(fewest or line["nfe"], line["nfe"]), max(most, line["nfe"])
        if "psnr" in line:
            self.before.append(line["psnr"][0])
            self.after.append(line["psnr"][1])
        if line.get("bits") is not None:
            self.bits.append((line["bits"][0], line["bits"][1]))
        if line.get("psnr_input") is not None:
            self.fidelity.append(line["psnr_input"])
        if line.get("psnr_codec") is not None:
            self.codec.append(line["psnr_codec"])


def diversity_of(lines: Sequence[Line], out: Place) -> float | None:
    """`code_jax.metrics.diversity` of an input's samples as their files have them; None if one has gone.

    Computed on the host, so that no size compiles anything.
    """
    try:
        samples = [read_picture(out / line["output"], None, "resize").astype(float) / 127.5 for line in lines]
    except PictureError:
        return None
    return float(np.mean([np.sqrt(np.mean((a - b) ** 2)) for a, b in itertools.combinations(samples, 2)]))
