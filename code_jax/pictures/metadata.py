"""What of a picture's metadata is still true of its restored copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from code_jax.pictures.provenance import png_text

# Of EXIF: what was seen, by whom, when, where and with what; not the file's layout, thumbnail or orientation.
_EXIF = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)  # description, make, model, software, date, artist, copyright
_OF_THE_FILE = (0x927C, 0xA001, 0xA002, 0xA003, 0xA005)  # maker's note, colour space, width, height, interoperability
_TURNS = {  # by EXIF's orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# The PNG specification's keywords, without its "Creation Time" of the file.
_TEXT = ("Title", "Author", "Description", "Copyright", "Disclaimer", "Warning", "Source", "Comment")


class Metadata(NamedTuple):
    """EXIF as bytes, PNG's text by keyword, dots per inch, and the colour profile that the values are in (None: sRGB)."""

    exif: bytes = b""
    text: tuple[tuple[str, str], ...] = ()
    dpi: tuple[float, float] | None = None
    icc_profile: bytes | None = None

    def png_text(self, facts: Mapping[str, Any] | None = None) -> PngInfo:
        """The text as a PNG's writer wants it, with the facts of `code_jax.pictures.provenance`."""
        info = PngInfo() if facts is None else png_text(facts)
        for keyword, value in self.text:
            info.add_itxt(keyword, value)
        return info


def read_metadata(picture: Image.Image, warnings: list[str]) -> Metadata:
    """Of a loaded picture; what cannot be read is named in `warnings`."""
    text = {name: str(value) for name, value in picture.info.items() if name in _TEXT and isinstance(value, str)}
    comment = picture.info.get("comment")
    if isinstance(comment, bytes) and comment:
        text["Comment"] = comment.decode("utf-8", "replace").rstrip("\0")
    try:
        exif = _exif(picture)
    except Exception as error:  # EXIF is a format of its own, as easily broken as a picture's
        warnings.append(f"its EXIF data cannot be read ({type(error).__name__}) and is left out")
        exif = b""
    dpi = picture.info.get("dpi")
    return Metadata(exif, tuple(text.items()), _numbers(dpi), picture.info.get("icc_profile"))


def upright(picture: Image.Image) -> Image.Image:
    """A loaded picture turned and mirrored as its EXIF orientation says, where that can be read."""
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # named by `read_metadata`
        return picture
    return picture.transpose(_TURNS[orientation]) if orientation in _TURNS else picture


def _exif(picture: Image.Image) -> bytes:
    before, after = picture.getexif(), Image.Exif()
    for tag in _EXIF:
        if tag in before:
            after[tag] = before[tag]
    for folder in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        kept = {tag: value for tag, value in before.get_ifd(folder).items() if tag not in _OF_THE_FILE}
        if kept:
            after.get_ifd(folder).update(kept)
    return after.tobytes() if len(after) else b""


def _numbers(dpi: Any) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 1 <= across <= 100_000 and 1 <= down <= 100_000 else None
