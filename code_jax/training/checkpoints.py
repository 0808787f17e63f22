"""Checkpoints of a training: orbax, written in the background and renamed when whole, the last few and the best kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from code_jax.documents import read_json
from code_jax.durable import write_durably
from code_jax.errors import UserError, brief
from code_jax.late_answers import expect_late_answers
from code_jax.priors.hash import add_leaves
from code_jax.training.step import TrainState

_DESCRIPTION = "training.json"


class Checkpoints:
    """The checkpoints in ``folder/checkpoints``: a context manager that waits for what is being written.

    Args:
        folder: of the training.
        keep: how many of the last ones stay, beside the one of lowest validation loss.

    Raises:
        UserError: here and from every method, if they cannot be written or read.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        policies = [checkpoint_managers.LatestN(keep), checkpoint_managers.BestN(get_metric_fn=_loss, reverse=True, n=1)]
        options = ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies), best_fn=_loss, best_mode="min",
            cleanup_tmp_directories=True,
        )  # fmt: skip
        self._folder = (folder / "checkpoints").absolute()
        with self._named():
            self._manager = ocp.CheckpointManager(self._folder, options=options)

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        with contextlib.nullcontext() if kind is None else contextlib.suppress(UserError), self._named():
            self._manager.close()

    def latest(self) -> int | None:
        """The step of the newest checkpoint, or None."""
        return self._manager.latest_step()

    def best(self) -> int | None:
        """The step of lowest validation loss among those kept, or None."""
        with self._named():
            self._manager.wait_until_finished()
            return self._manager.best_step()

    def save(self, state: TrainState, validation_loss: float) -> None:
        """Begins to write a state; returns before it is on disk."""
        step = int(state.step)
        if step not in self._manager.all_steps():
            metrics = {"validation_loss": validation_loss, "sha256": _hash(state)}
            needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
            with self._named():
                if (free := shutil.disk_usage(self._folder).free) < 1.1 * needed:
                    raise OSError(f"{needed / 1e6:.1f} MB are needed and {free / 1e6:.1f} MB free")
                self._manager.save(step, args=ocp.args.StandardSave(state), metrics=metrics)

    def restore(self, step: int, like: TrainState) -> TrainState:
        """The state of a step; `like` gives shapes, dtypes and placement."""
        try:
            return _read(self._folder / str(step), like)
        except _Damaged as error:
            raise UserError(f"the checkpoint of step {step} is damaged: {error}") from error

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """What orbax says of a disk, in a line."""
        try:
            yield
        except (OSError, ValueError) as error:
            raise UserError(f"checkpoints cannot be written to {str(self._folder)!r}: {_first_line(error)}") from error


class _Damaged(Exception):
    """A checkpoint that cannot be read, or not as it was written."""


def set_damaged_aside(folder: Path, like: TrainState) -> None:
    """Moves the checkpoints of a training that are cut or changed to ``damaged/``, with a line on stderr for each.

    Raises:
        UserError: if none is sound.
    """
    found = [path for path in (folder / "checkpoints").glob("*") if path.name.isdecimal()]
    damaged = dict[Path, str]()
    for path in sorted(found, key=lambda path: int(path.name)):
        try:
            _read(path, like)
        except _Damaged as error:
            damaged[path] = str(error)
    if damaged and len(damaged) == len(found):
        path, reason = damaged.popitem()
        raise UserError(f"all checkpoints in {str(path.parent)!r} are damaged; that of step {path.name}: {reason}")
    for path, reason in damaged.items():
        aside = folder / "damaged" / path.name
        while aside.exists():
            aside = aside.with_name(f"{aside.name}_")
        aside.parent.mkdir(exist_ok=True)
        path.rename(aside)
        print(f"the checkpoint of step {path.name} is damaged and passed over ({reason}); now {aside}", file=sys.stderr)


def _read(path: Path, like: TrainState) -> TrainState:
    """The state in the folder of a step; raises _Damaged if it is not as it was written."""
    if not path.is_dir() or any(not each.is_file() and not each.is_dir() for each in path.rglob("*")):
        raise _Damaged("it holds what is no regular file")
    expect_late_answers()
    try:
        expected = read_json(path / "metrics" / "metrics")["sha256"]
        with ocp.StandardCheckpointer() as checkpointer:
            state: TrainState = checkpointer.restore(path.absolute() / "default", like)
    except Exception as error:  # orbax raises anything at all of a broken folder; whatever it is, the folder is what is wrong
        raise _Damaged(f"it cannot be read: {_first_line(error)}") from error
    if _hash(state) != expected:
        raise _Damaged("its values are not those that were written")
    return state


def _hash(state: TrainState) -> str:
    digest = hashlib.sha256()
    add_leaves(digest, state)
    return digest.hexdigest()


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:120]


def _loss(metrics: Any) -> float:
    return float(metrics.get("validation_loss", float("inf")))


def check_description(folder: Path, description: dict[str, Any], *, resume: bool) -> None:
    """Writes ``training.json``, what the training is, or compares with the one that is there.

    Raises:
        UserError: if the folder holds a training and `resume` is off, or the two differ (each difference is named).
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
            found.append(f"{prefix}{name} was {brief(a)}, is {brief(b)}")
    return found
