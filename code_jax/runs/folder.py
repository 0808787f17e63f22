"""Whose an output folder is: that of one command with one set of settings, and of one process at a time."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from code_jax.durable import check_regular, write_durably
from code_jax.errors import UserError, brief
from code_jax.runs.lines import is_line, read_objects
from code_jax.runs.lock import locked
from code_jax.runs.shards import LOCK, manifests
from code_jax.storage.address import Address, Place

_MARKER = ".manifest.json"
_FILES = {  # what a command writes whatever its inputs are called
    "restore": ("manifest.jsonl", "contact_sheet.png", "report.html"),
    "corrupt": ("manifest.jsonl", "contact_sheet.png"),
    "sweep": ("sweep.csv", "plot.png", "contact_sheet.png", "cells"),
    "evaluate": ("results.csv", "report.md", "report.html", "records"),
    "train": ("training.json", "checkpoints", "damaged", "losses.csv", "losses.png", "samples", "prior"),
}
_ALONE = ("train",)  # whose folder begins empty: what else is in it is taken for another program's training


def check_folder(out: Place, command: str, settings: Mapping[str, Any] | None = None) -> None:
    """Reads whether a command may write into a folder: it is new, or holds what the same command made; nothing is written.

    Below an address there must be nothing else at all.

    settings: what all that is in the folder must share; None is left to the command.

    Raises:
        UserError: names what is there instead.
    """
    settings = json.loads(json.dumps(settings or {}, default=str))  # as a marker gives it back
    made = made_by(out)
    if made is None and isinstance(out, Address):
        made = _made_just_now(out, command)
    if made is None:
        assert isinstance(out, Path)
        for name in (each for each in _names(out) if each[0] != ".") if command in _ALONE else _FILES[command]:
            path = out / name
            if os.path.lexists(path) and not (os.path.isfile(path) and os.path.getsize(path) == 0):
                raise UserError(f"{str(path)!r} is there already, and code-jax {command} did not make it; choose another --out")
    elif made["command"] != command:
        raise UserError(f"{str(out)!r} holds what code-jax {brief(made['command'])} made; choose another --out")
    else:
        before = made.get("settings", {})
        for name, value in settings.items():
            if before.get(name) != value:
                was = f"{name} was {brief(before.get(name))}, is {brief(value)}"
                raise UserError(f"{str(out)!r} holds what code-jax {command} made of other settings: {was}; choose another --out")
    if isinstance(out, Path):
        for name in (*_FILES[command], LOCK):
            for path in (out / name, *(out / name).rglob("*")):
                if path.is_symlink():  # what is written by its name would be written elsewhere
                    check_regular(path)


def _made_just_now(out: Address, command: str) -> dict[str, Any]:
    """Of an address without a claim: what it holds by now, where others may be claiming it; nothing is the command's."""
    if next(out.entries(), None) is None:
        return {"command": command}
    made = made_by(out)
    if made is None:
        raise UserError(f"{str(out)!r} holds objects, and code-jax {command} did not make them; choose another --out")
    return made


def claim(out: Path, command: str, settings: Mapping[str, Any] | None = None) -> None:
    """Marks a folder that exists, and that the caller has locked, as a command's; otherwise as `check_folder`."""
    check_folder(out, command, settings)
    if not check_regular(out / _MARKER):
        write_durably(out / _MARKER, json.dumps({"command": command, "settings": settings or {}}, default=str).encode())


def claim_address(out: Address, command: str, identity: Mapping[str, Any], *, overwrite: bool) -> dict[str, Any]:
    """Marks what is below an address as a command's results of one identity; the identity that it is marked with.

    Of several who claim it at a time one succeeds, whoever's answers get lost.

    overwrite: what it was marked with is replaced.

    Raises:
        UserError: as `check_folder`.
    """
    check_folder(out, command)
    claim = {"command": command, "settings": {}, "identity": dict(identity), "token": uuid.uuid4().hex}
    data = json.dumps(claim, default=str).encode()
    if not (out / _MARKER).create(data) and overwrite:
        (out / _MARKER).put(data)
    return identity_of(out) or {"settings": {}}


def identity_of(out: Address) -> dict[str, Any] | None:
    """The identity of the results below an address; None if nobody has claimed it."""
    identity = (made_by(out) or {}).get("identity")
    return identity if isinstance(identity, dict) and isinstance(identity.get("settings"), dict) else None


@contextlib.contextmanager
def claimed(out: Path, command: str, settings: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Holds a folder that exists for a command alone, while entered.

    Raises:
        UserError: as `check_folder`, or names the process that holds it.
    """
    with locked(out / LOCK):
        claim(out, command, settings)
        yield


def _names(out: Path) -> list[str]:
    return sorted(os.listdir(out)) if out.is_dir() else []


def made_by(out: Place) -> dict[str, Any] | None:
    """The ``command`` and ``settings`` that made a folder: as its marker says, or a manifest that is older than markers.

    Raises:
        UserError: if one of them cannot be read.
    """
    for marker in read_objects(out / _MARKER):
        if isinstance(marker.get("command"), str) and isinstance(marker.get("settings"), dict):
            return marker
    for path in () if isinstance(out, Address) else manifests(out):
        for line in read_objects(path):
            if is_line(line):
                return {"command": "restore"}
    return None
