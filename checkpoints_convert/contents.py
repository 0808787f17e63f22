"""What a checkpoint of any format holds, as plain data in diffusers' terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Contents(NamedTuple):
    """A network, its scheduler and its weights.

    Attributes:
        network: what diffusers' ``config.json`` of a ``UNet2DModel`` says.
        scheduler: what diffusers' ``scheduler_config.json`` says.
        state: gives the state dict: arrays by PyTorch's names, in its layout, of the dtypes they are stored in. Weights are
            large: it is called once the two configs are understood.
    """

    network: Mapping[str, Any]
    scheduler: Mapping[str, Any]
    state: Callable[[], dict[str, np.ndarray]]
