"""The files of a run: which ones, and where their results go."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from code_jax.durable import check_regular
from code_jax.errors import UserError, nearest
from code_jax.pictures.collection import EXTENSIONS, find_pictures, held_instead
from code_jax.pictures.contact_sheet import is_sheet
from code_jax.pictures.provenance import read_facts
from code_jax.runs.folder import check_folder
from code_jax.runs.lines import read_objects
from code_jax.runs.shards import manifests

_LONGEST_NAME = 240  # bytes, which leaves room for a sample's number and an ending within the file systems' 255


class Source(NamedTuple):
    """A picture to restore: its path, its output's path without ending, its clean source if there is one, or why it cannot be."""

    path: Path
    output: Path
    reference: Path | None
    problem: str | None = None


def find_sources(
    inputs: Sequence[str | Path], out: Path, reference: Path | None = None, *, suffix: str = "",
    names: Mapping[str, str] | None = None,
) -> list[Source]:  # fmt: skip
    """The pictures of files and folders (searched in depth, sub-folders mirrored in the output), sorted within each.

    A folder's own ``clean/`` with a picture for each of the folder's is taken as the clean sources, not as input. Every
    source has an output of its own, whatever the inputs' names and the file system's idea of case.

    Args:
        inputs: files and folders.
        out: the output folder; inside an input it is passed over.
        reference: folder of clean sources, each with its input's sub-folder and name; endings and case may differ.
        suffix: added to the outputs' names.
        names: outputs (relative, without ending) that inputs (absolute paths) were given before; they keep them.

    Raises:
        UserError: if an input or the reference does not exist, or there is no picture at all.
    """
    if reference is not None and not reference.is_dir():
        raise UserError(f"the reference {str(reference)!r} is no folder; give one of clean sources")
    found: list[tuple[Path, Path, Path | None, str | None]] = []
    given = None if reference is None else _Partners(reference)
    if not all(map(str, inputs)):
        raise UserError("the name of an input is empty")  # which as a path would be the folder one is in
    for entry in map(Path, inputs):
        if os.path.isdir(entry):
            if entry.resolve() == out.resolve():
                raise UserError(f"--out {str(out)!r} is an input folder; choose another, which may be inside it")
            partners = given or _own_references(entry)
            passed_over = {folder.resolve() for folder in (out, *([partners.folder] if partners else ()))}
            for path, problem in find_pictures(entry, passed_over):
                inside = path.relative_to(entry) if path != entry else Path(path.absolute().name or "folder")
                found.append((path, inside, partners.of(inside) if partners else None, problem))
        elif os.path.lexists(entry):
            inside = Path(entry.name)
            found.append((entry, inside, given.of(inside) if given else None, None))
        else:
            raise UserError(f"input {str(entry)!r} does not exist{_near(entry)}")
    if not found:
        names_of = ", ".join(repr(str(entry)) for entry in inputs)
        raise UserError(f"no picture in {names_of}: {held_instead(map(Path, inputs))}")
    wanted = [_shortened(inside.with_name(inside.stem + suffix)) for _, inside, _, _ in found]
    clashes = Counter(map(_folded, wanted))
    names = names or {}
    others = {_folded(Path(name)) for owner, name in names.items() if os.path.exists(owner)}
    used: set[str] = set()
    numbers: Counter[str] = Counter()  # of each name, how many were tried
    sources = []
    for (path, inside, clean_path, problem), output in zip(found, wanted, strict=True):
        before = names.get(os.path.abspath(path))
        if before is not None and _folded(Path(before)) not in used:
            output = Path(before)
        else:
            if clashes[_folded(output)] > 1 or (output.parent == Path() and is_sheet(output.name)):
                output = _shortened(inside.with_name(inside.name + suffix))
            plain = output
            while _folded(output) in used or _folded(output) in others:
                numbers[_folded(plain)] += 1
                output = plain.with_name(f"{plain.name}_{numbers[_folded(plain)] + 1}")
        used.add(_folded(output))
        sources.append(Source(path, out / output, clean_path, problem))
    return sources


def _near(path: Path) -> str:
    """What a message says after a path that does not exist: the nearest name beside it, or the folder that is missing."""
    try:
        return nearest(path.name, os.listdir(path.parent))
    except OSError:
        return f": its folder {str(path.parent)!r} cannot be read"


def without_partner(sources: Sequence[Source]) -> str:
    """What a warning says of the inputs that have no clean source; nothing where all have one."""
    alone = [repr(str(source.path)) for source in sources if source.reference is None]
    more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
    return f"no clean source of the same name (endings and case aside) for {', '.join(alone[:3])}{more}" if alone else ""


def check_output(
    out: Path, sources: Sequence[Source], command: str, endings: Sequence[str] = (".png",), samples: int = 1,
    settings: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Makes the output folders, unless something would be lost by what the command writes into them.

    Args:
        out: the output folder.
        sources: whose results go there.
        command: which of `code_jax.runs.folder` writes them, with which `settings`.
        endings: those that results may have, in any case.
        samples: results of a source.

    Raises:
        UserError: if a result would overwrite an input, a clean source or a file that is not ours, the folder is another
            command's, or it cannot be written.
    """
    try:
        check_folder(out, command, settings)
        _check_results(out, sources, endings, samples)
        for folder in {out, *(source.output.parent for source in sources)}:
            folder.mkdir(parents=True, exist_ok=True)
        probe = out / f".{uuid.uuid4().hex}.tmp"
        probe.touch()
        probe.unlink(missing_ok=True)  # another run may have cleared it away
    except OSError as error:
        raise UserError(f"the output folder {str(out)!r} cannot be written: {error.strerror}") from error


def _check_results(out: Path, sources: Sequence[Source], endings: Sequence[str], samples: int) -> None:
    read = [path for source in sources for path in (source.path, source.reference) if path is not None]
    inputs = {os.path.realpath(path).casefold(): path for path in read}
    real: dict[Path, str] = {}
    listed: set[str] | None = None
    for source in sources:
        folder = source.output.parent
        if folder not in real:
            real[folder] = os.path.realpath(folder)
            if real[folder] != os.path.normpath(os.path.join(os.path.realpath(out), folder.relative_to(out))):
                raise UserError(f"{str(folder)!r} is a link to {real[folder]!r}, outside of --out; choose another folder")
        for name in (name + ending for name in result_names(source.output.name, samples) for ending in endings):
            path = folder / name
            there = os.path.lexists(path)
            where = os.path.realpath(path) if there else os.path.join(real[folder], name)
            if where.casefold() in inputs:
                overwritten = str(inputs[where.casefold()])
                raise UserError(f"--out {str(out)!r} would overwrite the input {overwritten!r}; choose another folder")
            if there:
                listed = _outputs(out) if listed is None else listed
                if check_regular(path) and path.relative_to(out).as_posix() not in listed and not _is_ours(path):
                    raise UserError(f"{str(path)!r} is there already, and is none of our results; choose another --out")


def _outputs(out: Path) -> set[str]:
    """What the manifests of a folder tell of."""
    lines = (line for path in manifests(out) for line in read_objects(path))
    return {line["output"] for line in lines if isinstance(line.get("output"), str)}


def _is_ours(path: Path) -> bool:
    """Whether a picture that no manifest tells of, because its run was killed, says itself that it is a result."""
    try:
        read_facts(path)
    except UserError:
        return False
    return True


def result_names(name: str, samples: int) -> list[str]:
    """The names, without ending, of an input's results: its own, or numbered from 1 where there are several samples."""
    return [name] if samples == 1 else [f"{name}_{sample + 1}" for sample in range(samples)]


class _Partners:
    """A folder of clean sources: each is found by its sub-folder and name, or without ending and case if it is the only one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_stem: dict[str, list[Path]] = {}
        for path, problem in find_pictures(folder):
            if problem is None and os.path.isfile(path):
                self._by_stem.setdefault(_folded(path.relative_to(folder).with_suffix("")), []).append(path)

    def of(self, inside: Path) -> Path | None:
        """The clean source of an input, of which this is the path within its folder; None if there is none, or several."""
        if os.path.isfile(self.folder / inside):
            return self.folder / inside
        alike = self._by_stem.get(_folded(inside.with_suffix("")), [])
        return alike[0] if len(alike) == 1 else None


def _own_references(folder: Path) -> _Partners | None:
    clean = folder / "clean"
    try:
        pictures = [path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS]
    except OSError:  # which the walk names
        return None
    if not pictures or not clean.is_dir():
        return None
    partners = _Partners(clean)
    return partners if all(partners.of(Path(path.name)) for path in pictures) else None


def _shortened(path: Path) -> Path:
    name = os.fsencode(path.name)
    if len(name) <= _LONGEST_NAME:
        return path
    kept = name[: _LONGEST_NAME - 9].decode("utf-8", "ignore")
    return path.with_name(f"{kept}-{hashlib.sha256(name).hexdigest()[:8]}")


def _folded(path: Path) -> str:
    return path.as_posix().casefold()
