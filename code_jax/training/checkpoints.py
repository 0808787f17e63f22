"""Checkpoints of a training: orbax, written in the background and renamed when whole, the last few and the best kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from code_jax.documents import read_json
from code_jax.durable import write_durably
from code_jax.errors import UserError
from code_jax.training.step import TrainState

_DESCRIPTION = "training.json"


class Checkpoints:
    """The checkpoints in ``folder/checkpoints``: a context manager that waits for what is being written.

    Args:
        folder: of the training.
        keep: how many of the last ones stay, beside the one of lowest validation loss.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        policies = [checkpoint_managers.LatestN(keep), checkpoint_managers.BestN(get_metric_fn=_loss, reverse=True, n=1)]
        options = ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies), best_fn=_loss, best_mode="min"
        )
        self._manager = ocp.CheckpointManager((folder / "checkpoints").absolute(), options=options)

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    def latest(self) -> int | None:
        """The step of the newest whole checkpoint, or None."""
        return self._manager.latest_step()

    def best(self) -> int:
        """The step of lowest validation loss among those kept."""
        self._manager.wait_until_finished()
        step: int = self._manager.best_step()
        return step

    def save(self, state: TrainState, validation_loss: float) -> None:
        """Begins to write a state; returns before it is on disk."""
        step = int(state.step)
        if step not in self._manager.all_steps():
            self._manager.save(step, args=ocp.args.StandardSave(state), metrics={"validation_loss": validation_loss})

    def restore(self, step: int, like: TrainState) -> TrainState:
        """The state of a step; `like` gives shapes, dtypes and placement.

        Raises:
            UserError: if what is stored does not fit.
        """
        self._manager.wait_until_finished()
        try:
            state: TrainState = self._manager.restore(step, args=ocp.args.StandardRestore(like))
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"the checkpoint of step {step} cannot be read: {str(error).splitlines()[0]}") from error
        return state


def _loss(metrics: Any) -> float:
    return float(metrics.get("validation_loss", float("inf")))


def check_description(folder: Path, description: dict[str, Any], *, resume: bool) -> None:
    """Writes ``training.json``, what the training is; with `resume` compares with the one that is there.

    Raises:
        UserError: if the folder holds a training and `resume` is off, holds none and it is on, or the two differ (each
            difference is named).
    """
    path = folder / _DESCRIPTION
    description = json.loads(json.dumps(description))
    if path.is_file():
        if not resume:
            raise UserError(f"{folder} holds a training already: go on with --resume, or choose another --out")
        differences = _differences(read_json(path), description)
        if differences:
            raise UserError(f"{folder} holds another training: {'; '.join(differences)}; choose another --out")
    else:
        write_durably(path, (json.dumps(description, indent=2) + "\n").encode())


def _differences(there: dict[str, Any], here: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name in sorted(set(there) | set(here)):
        a, b = there.get(name), here.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _differences(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name} was {a!r}, is {b!r}")
    return found
