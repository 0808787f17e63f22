"""What restoring a picture would do: told from the picture and the prior, before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator

from code_jax.editing.edit import number_of_moves
from code_jax.editing.presets import preset
from code_jax.errors import UserError
from code_jax.pictures.files import open_picture
from code_jax.pictures.fits import OWN_SIZE, chosen_fit
from code_jax.pictures.loading import PictureError
from code_jax.priors.load import load_prior
from code_jax.runs.account import plural
from code_jax.runs.canvas import sizes_of, windows_of
from code_jax.runs.job import larger_fit
from code_jax.storage.address import Place


def outlook_of(path: Place, name: str) -> Iterator[tuple[str, str]]:
    """Names and values, as people read them, of a picture and of what ``code-jax restore`` would do to it by default.

    Args:
        path: of the picture.
        name: of the prior.

    Raises:
        UserError: if the picture cannot be read, or there is no such prior.
    """
    try:
        picture = open_picture(path)
    except PictureError as error:
        raise UserError(f"{str(path)!r} cannot be read: {error}") from error
    height, width, channels = picture.pixels.shape
    colour = "colour" if channels == 3 else "gray"
    clear = ", transparency" if picture.alpha is not None else ""
    yield "picture", f"{picture.format}, {width}x{height} pixels, {colour}, {8 * picture.pixels.itemsize} bits{clear}"
    for text in picture.warnings:
        yield "mind", text
    prior, config = load_prior(name), preset("default")
    own, evaluations = "x".join(map(str, prior.image_shape[1::-1])), number_of_moves(prior, config)[1]
    yield "prior", f"{name}, of {own} pixels"
    fit = chosen_fit("auto", (height, width), prior.image_shape, larger_fit(prior, config.method))
    if fit not in OWN_SIZE:
        yield "cost", f"{evaluations} evaluations of the network"
        if (width, height) != prior.image_shape[1::-1]:
            yield "", f"the result is {own}, the prior's size; --keep-size brings it back"
        return
    sizes = sizes_of((height, width), prior.image_shape, fit)
    windows = sum(windows_of(size, prior.image_shape) for size in sizes)
    yield "cost", f"{evaluations * windows} evaluations of the network, in {plural(windows, 'window')}"
    yield "", f"the result is {width}x{height}, its own size, by way of {plural(len(sizes), 'size')}"
