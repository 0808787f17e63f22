"""The files of a run: which ones, and where their results go."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from code_jax.durable import check_regular
from code_jax.errors import UserError, nearest
from code_jax.pictures.collection import EXTENSIONS, find_pictures, held_instead
from code_jax.pictures.provenance import read_facts
from code_jax.runs.folder import check_folder, made_by
from code_jax.runs.lines import read_objects
from code_jax.runs.listing import Listing, Source, is_reserved, listed, with_stem
from code_jax.runs.manifest import names_given
from code_jax.runs.shards import manifests
from code_jax.storage.address import Address, Place, absolute, place


def sources_of(
    inputs: Sequence[str | Place], out: Place, reference: Place | None = None, *, suffix: str = ""
) -> list[Source] | Listing:  # fmt: skip
    """The pictures of files and folders, as `find_sources`; those of one address alone as a listing, which is not held.

    Raises:
        UserError: as `find_sources`.
    """
    given = _places(inputs)
    for each in given:
        if isinstance(each, Address) and isinstance(out, Address) and each.is_relative_to(out):
            raise UserError(f"--out {str(out)!r} is or holds the input {str(each)!r}; choose another, which may be below it")
    if len(given) > 1 or not isinstance(given[0], Address):
        return find_sources(given, out, reference, suffix=suffix, names=names_given(out))
    listing = Listing(given[0], out, reference, suffix)
    if next(iter(listing), None) is None:
        raise _nothing_in(given)
    return listing


def find_sources(
    inputs: Sequence[str | Place], out: Place, reference: Place | None = None, *, suffix: str = "",
    names: Mapping[str, str] | None = None,
) -> list[Source]:  # fmt: skip
    """The pictures of files and folders (searched in depth, sub-folders mirrored in the output), sorted within each.

    A folder's own ``clean/`` with a picture for each of the folder's is taken as the clean sources, not as input. Every
    source has an output of its own, whatever the inputs' names and the file system's idea of case.

    Args:
        inputs: files and folders, or addresses of them.
        out: the output folder; inside an input it is passed over.
        reference: folder of clean sources, each with its input's sub-folder and name; on a disk endings and case may differ.
        suffix: added to the outputs' names.
        names: outputs (relative, without ending) that inputs (absolute paths) were given before; they keep them.

    Raises:
        UserError: if an input or the reference does not exist, or there is no picture at all.
    """
    entries = _places(inputs)
    if isinstance(reference, Path) and not reference.is_dir():
        raise UserError(f"the reference {str(reference)!r} is no folder; give one of clean sources")
    given = None if reference is None else _Beside(reference) if isinstance(reference, Address) else _Partners(reference)
    found = [each for entry in entries for each in _found(entry, out, given)]
    if not found:
        raise _nothing_in(entries)
    wanted = [with_stem(inside, inside.stem + suffix) for inside, _ in found]
    clashes = Counter(map(_folded, wanted))
    names = names or {}
    others = {_folded(Path(name)) for owner, name in names.items() if os.path.exists(owner)}
    used: set[str] = set()
    numbers: Counter[str] = Counter()  # of each name, how many were tried
    sources = []
    for (inside, source), output in zip(found, wanted, strict=True):
        before = names.get(absolute(source.path))
        if before is not None and _folded(Path(before)) not in used:
            output = Path(before)
        else:
            if clashes[_folded(output)] > 1 or is_reserved(output):
                output = with_stem(inside, inside.name + suffix)
            plain = output
            while _folded(output) in used or _folded(output) in others:
                numbers[_folded(plain)] += 1
                output = plain.with_name(f"{plain.name}_{numbers[_folded(plain)] + 1}")
        used.add(_folded(output))
        sources.append(source._replace(name=output.as_posix()))
    return sources


def _places(inputs: Sequence[str | Place]) -> list[Place]:
    if not all(map(str, inputs)):
        raise UserError("the name of an input is empty")  # which as a path would be the folder one is in
    return [place(each) for each in inputs]


def _found(entry: Place, out: Place, given: _Partners | _Beside | None) -> Iterator[tuple[PurePath, Source]]:
    """The pictures of an input, each with its path within it; their results' names are not yet known."""
    if isinstance(entry, Address):
        for each in listed(entry, out):
            yield each.inside, Source(each.path, "", given.of(each.inside) if given else None, version=each.version)
    elif os.path.isdir(entry):
        passed_over = set()
        if isinstance(out, Path):
            if entry.resolve() == out.resolve():
                raise UserError(f"--out {str(out)!r} is an input folder; choose another, which may be inside it")
            passed_over.add(out.resolve())
        partners = given or _own_references(entry)
        if isinstance(partners, _Partners):
            passed_over.add(partners.folder.resolve())
        for path, problem in find_pictures(entry, passed_over):
            within = path.relative_to(entry) if path != entry else Path(path.absolute().name or "folder")
            yield within, Source(path, "", partners.of(within) if partners else None, problem)
    elif os.path.lexists(entry):
        yield Path(entry.name), Source(entry, "", given.of(Path(entry.name)) if given else None)
    else:
        raise UserError(f"input {str(entry)!r} does not exist{_near(entry)}")


def _nothing_in(inputs: Sequence[Place]) -> UserError:
    names_of = ", ".join(repr(str(entry)) for entry in inputs)
    folders = [entry for entry in inputs if isinstance(entry, Path)]
    held = held_instead(folders) if folders else f"pictures end in {', '.join(sorted(EXTENSIONS))}"
    return UserError(f"no picture in {names_of}: {held}")


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
    out: Place, sources: Sequence[Source] | Listing, command: str, endings: Sequence[str] = (".png",), samples: int = 1,
    settings: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Makes the output folders, unless something would be lost by what the command writes into them.

    Results in a bucket, and those of a listing, which come as they are called, go where there is nothing but what the same
    command made.

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
        if isinstance(out, Address):
            return
        if isinstance(sources, Listing):
            if made_by(out) is None and out.is_dir() and any(out.iterdir()):
                raise UserError(f"{str(out)!r} holds files, and code-jax {command} did not make them; choose another --out")
        else:
            _check_results(out, sources, endings, samples)
        for folder in {out, *((out / source.name).parent for source in sources if not isinstance(sources, Listing))}:
            folder.mkdir(parents=True, exist_ok=True)
        probe = out / f".{uuid.uuid4().hex}.tmp"
        probe.touch()
        probe.unlink(missing_ok=True)  # another run may have cleared it away
    except OSError as error:
        raise UserError(f"the output folder {str(out)!r} cannot be written: {error.strerror}") from error


def _check_results(out: Path, sources: Sequence[Source], endings: Sequence[str], samples: int) -> None:
    read = [path for source in sources for path in (source.path, source.reference) if path is not None]
    inputs = {os.path.realpath(path).casefold(): path for path in read if isinstance(path, Path)}
    real: dict[Path, str] = {}
    told: set[str] | None = None
    for source in sources:
        folder = (out / source.name).parent
        if folder not in real:
            real[folder] = os.path.realpath(folder)
            if real[folder] != os.path.normpath(os.path.join(os.path.realpath(out), folder.relative_to(out))):
                raise UserError(f"{str(folder)!r} is a link to {real[folder]!r}, outside of --out; choose another folder")
        for name in (name + ending for name in result_names(PurePath(source.name).name, samples) for ending in endings):
            path = folder / name
            there = os.path.lexists(path)
            where = os.path.realpath(path) if there else os.path.join(real[folder], name)
            if where.casefold() in inputs:
                overwritten = str(inputs[where.casefold()])
                raise UserError(f"--out {str(out)!r} would overwrite the input {overwritten!r}; choose another folder")
            if there:
                told = _outputs(out) if told is None else told
                if check_regular(path) and path.relative_to(out).as_posix() not in told and not _is_ours(path):
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


class _Beside:
    """Clean sources below an address: each is taken to be of its input's path there."""

    def __init__(self, folder: Address) -> None:
        self.folder = folder

    def of(self, inside: PurePath) -> Address:
        """The clean source of an input."""
        return self.folder / inside.as_posix()


class _Partners:
    """A folder of clean sources: each is found by its sub-folder and name, or without ending and case if it is the only one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_stem: dict[str, list[Path]] = {}
        for path, problem in find_pictures(folder):
            if problem is None and os.path.isfile(path):
                self._by_stem.setdefault(_folded(path.relative_to(folder).with_suffix("")), []).append(path)

    def of(self, inside: PurePath) -> Path | None:
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


def _folded(path: PurePath) -> str:
    return path.as_posix().casefold()
