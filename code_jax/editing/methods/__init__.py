"""Methods: what an edit does between an input and its result, one value a file.

A method says how an edit starts, which route it takes, which settings it has and what it can do; nobody else asks which it is.
A new one is a file here and a line in `_HOMES`, or a `Method` of one's own given to `register`. No JAX until one is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from code_jax.errors import UserError, choose

_HOMES = {
    "code": "code_jax.editing.methods.code",
    "sdedit": "code_jax.editing.methods.sdedit",
    "ddim": "code_jax.editing.methods.ddim",
    "official": "code_jax.editing.methods.official",
    "dreamclean": "code_jax.editing.methods.dreamclean",
    "invert2restore": "code_jax.editing.methods.invert2restore",
    "diip": "code_jax.editing.methods.diip",
    "bir_d": "code_jax.editing.methods.bir_d",
    "bird": "code_jax.editing.methods.bird",
    "dps": "code_jax.editing.methods.dps",
    "diffpir": "code_jax.editing.methods.diffpir",
}
_own: dict[str, Method] = {}


class Row(NamedTuple):
    """A row of an evaluation's tables.

    Attributes:
        title: of it.
        values: by option, that make it.
        base: the row of which it is shown what is different here; "" where there is none.
    """

    title: str
    values: Mapping[str, Any] = {}
    base: str = ""


class Method(NamedTuple):
    """A method. Its settings are a pytree whose leaves are numbers, with a property `method`; those of most are an `EditConfig`.

    Attributes:
        name: of it.
        about: what it does, in a line.
        options: names in `code_jax.editing.options.OPTIONS` of the settings that it has.
        configure: ``values -> settings``, of values by option; what is left out has its default.
        describe: ``settings -> values`` that `configure` gives them from.
        canonical: ``(settings, denoiser) -> settings``, checked, every number an array.
        start: ``(settings, denoiser, images, draw) -> (z, σ [B, 1, 1, 1])``, and what its own moves remember where they do, a
            pytree [B, ...]; numbers are [B, ...], ``draw(n)`` is the n-th noise.
        route: ``(settings, denoiser) -> Route`` of one image with its own numbers.
        up: ``settings -> count`` of the moves up to the deepest level.
        upward: the numbers that z depends on there.
        warn: ``(settings, denoiser) -> texts`` of what is likely a mistake.
        rows: of the tables, by name.
        masks: whether it can be limited to a region.
        gradient: whether its result can be differentiated by its numbers.
        tiles: whether it can work on overlapping windows.
        finer: ``(settings, denoiser, share) -> settings`` with that share of their noise levels, for the finer sizes of a picture
            (`code_jax.editing.pyramid`); None where it has none to choose.
        field: ``(settings, denoiser) -> denoiser`` that its moves ask; None is the one with the settings' dynamic threshold.
    """

    name: str
    about: str
    options: tuple[str, ...]
    configure: Callable[[Mapping[str, Any]], Any]
    describe: Callable[[Any], dict[str, Any]]
    canonical: Callable[[Any, Any], Any]
    start: Callable[[Any, Any, Any, Callable[[int], Any]], tuple[Any, ...]]
    route: Callable[[Any, Any], Any]
    up: Callable[[Any], int]
    upward: tuple[str, ...] = ()
    warn: Callable[[Any, Any], tuple[str, ...]] = lambda settings, denoiser: ()
    rows: Mapping[str, Row] = {}
    masks: bool = True
    gradient: bool = True
    tiles: bool = True
    finer: Callable[[Any, Any, float], Any] | None = None
    field: Callable[[Any, Any], Any] | None = None


def names() -> tuple[str, ...]:
    """Of all the methods that there are."""
    return (*_HOMES, *_own)


def check_name(name: str) -> str:
    """The name; raises UserError where it is no method's."""
    choose("method", name, dict.fromkeys(names()))
    return name


def find(name: str) -> Method:
    """The method of a name; raises UserError where there is none."""
    if check_name(name) in _own:
        return _own[name]
    method: Method = importlib.import_module(_HOMES[name]).METHOD
    return method


def rows() -> dict[str, tuple[Method, Row]]:
    """Of all the methods that there are, with the method of each."""
    return {name: (method, row) for method in map(find, names()) for name, row in method.rows.items()}


def register(method: Method) -> None:
    """Adds a method of one's own; raises UserError where its name is taken."""
    if method.name in names():
        raise UserError(f"there is a method {method.name!r} already; give yours another name")
    _own[method.name] = method
