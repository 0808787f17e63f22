"""Real files of every format and mode that Pillow writes, and of some that it only reads: for the tests and the fuzz run."""

from __future__ import annotations

import functools
import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

SIZE = (37, 29)  # width, height


def scene(mode: str = "RGB", size: tuple[int, int] = SIZE, seed: int = 0) -> Image.Image:
    """A picture with gradients, an edge and some noise, in a mode."""
    width, height = size
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[0:height, 0:width]
    planes = [across / width, down / height, (across + down) / (width + height)]
    pixels = np.stack(planes, axis=2) * 200 + rng.uniform(0, 40, (height, width, 3))
    pixels[height // 3 : height // 2, width // 3 : width // 2] = (230, 20, 90)
    picture = Image.fromarray(pixels.astype(np.uint8))
    if mode in ("RGB", "1", "L", "CMYK", "YCbCr", "HSV"):
        return picture.convert(mode)
    if mode == "LAB":
        return ImageCms.profileToProfile(picture, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB")
    if mode == "P":
        return picture.quantize(17)
    if mode == "PA":
        return scene("RGBA", size, seed).convert("PA")
    if mode in ("LA", "RGBA", "La", "RGBa"):
        picture = picture.convert(mode[:-1] if mode[-1] == "A" else {"La": "L", "RGBa": "RGB"}[mode])
        picture.putalpha(Image.fromarray(alpha_plane(size)))
        return picture if mode[-1] == "A" else picture.convert(mode)
    deep = deep_plane(size)
    if mode == "I;16":
        return Image.fromarray(deep)
    return Image.fromarray(deep.astype({"I": np.int32, "F": np.float32}[mode]))


def alpha_plane(size: tuple[int, int] = SIZE) -> np.ndarray:
    """A transparency with every value that matters: none, all, and between. uint8 [H, W]."""
    return np.tile(np.linspace(0, 255, size[0]).astype(np.uint8), (size[1], 1))


def deep_plane(size: tuple[int, int] = SIZE) -> np.ndarray:
    """Gray of more than 8 bits: values that 8 bits cannot tell apart. uint16 [H, W]."""
    return np.linspace(300, 65000, size[0] * size[1]).astype(np.uint16).reshape(size[1], size[0])


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def deep_colour_png(pixels: np.ndarray) -> bytes:
    """A PNG of 16 bits a channel from uint16 [H, W, 3], by the specification: Pillow writes none."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(values: np.ndarray, tags: dict[int, int] | None = None) -> bytes:
    """A TIFF of one page from [H, W, C] of any type, by the specification (TIFF 6.0, section 2): Pillow writes few of them."""
    height, width, channels = values.shape
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    fields = {256: width, 257: height, 258: 8 * values.dtype.itemsize, 259: 1, 262: 2 if channels > 2 else 1, 277: channels}
    fields |= {278: height, 279: len(data), 339: kind} | (tags or {})
    lists = b"".join(struct.pack(f"<{channels}H", *[fields[tag]] * channels) for tag in (258, 339))
    place = 8 + 2 + 12 * (len(fields) + 1) + 4
    fields |= {273: place + len(lists)}
    entries = b""
    for tag, value in sorted(fields.items()):
        several = tag in (258, 339) and channels > 2
        inline = place + 2 * channels * (tag == 339) if several else value
        entries += struct.pack("<HHII", tag, 3 if tag in (258, 339) else 4, channels if several else 1, inline)
    return struct.pack("<2sHIH", b"II", 42, 8, len(fields)) + entries + bytes(4) + lists + data


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def exif(orientation: int = 1) -> bytes:
    """EXIF with a camera, a date, a place, a maker's note and an orientation."""
    data = Image.Exif()
    data[0x0112], data[0x010F], data[0x8298] = orientation, "Maker", "somebody"
    data.get_ifd(0x8769).update({0x9003: "2024:01:02 03:04:05", 0x927C: b"secret", 0xA002: 999, 0x829A: 0.01})
    data.get_ifd(0x8825).update({1: "N", 2: (46.0, 31.0, 12.0)})
    return data.tobytes()


def text() -> PngImagePlugin.PngInfo:
    """PNG text: two keywords that stay true, one that does not."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "a title")
    info.add_itxt("Author", "Жанна")
    info.add_text("Software", "other")
    return info


def wide_profile() -> bytes:
    """An ICC profile that is not sRGB: its transfer curve is another (LittleCMS' own gray-balanced XYZ profile)."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()


@functools.cache
def corpus() -> dict[str, bytes]:
    """Files by name."""
    frames = lambda: [scene(seed=1), scene(seed=2)]  # noqa: E731 (saving leaves its options in a picture)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    files = {
        "exif.png": encoded(scene(), "PNG", exif=exif(6), pnginfo=text(), dpi=(300, 300), icc_profile=profile),
        "clear-colour.png": encoded(scene(), "PNG", transparency=(230, 20, 90)),
        "clear-entry.png": encoded(scene("P"), "PNG", transparency=3),
        "animated.png": encoded(scene(), "PNG", save_all=True, append_images=frames()),
        "deep-colour.png": deep_colour_png(deep_plane()[..., None].repeat(3, axis=2)),
        "exif.jpg": encoded(scene(), "JPEG", exif=exif(3), icc_profile=profile, comment=b"a comment", dpi=(72, 72)),
        "progressive.jpg": encoded(scene(), "JPEG", progressive=True),
        "two.mpo": encoded(scene(), "MPO", save_all=True, append_images=frames()),
        "packed.tif": encoded(scene(), "TIFF", compression="tiff_lzw"),
        "exif.tif": encoded(scene(), "TIFF", exif=exif(8)),
        "deflated.tif": encoded(scene(), "TIFF", compression="tiff_adobe_deflate", icc_profile=profile),
        "jpeg.tif": encoded(scene(), "TIFF", compression="jpeg"),
        "fax.tif": encoded(scene("1"), "TIFF", compression="group4"),
        "pages.tif": encoded(scene(), "TIFF", save_all=True, append_images=frames()),
        "animated.gif": encoded(scene("P"), "GIF", save_all=True, append_images=[frame.quantize(9) for frame in frames()]),
        "clear.gif": encoded(scene("P"), "GIF", transparency=0),
        "lossless.webp": encoded(scene("RGBA"), "WEBP", lossless=True, exif=exif(1), icc_profile=profile),
        "animated.webp": encoded(scene(), "WEBP", save_all=True, append_images=frames()),
        "packed.tga": encoded(scene(), "TGA", compression="tga_rle"),
    }
    kinds = {
        "PNG": ("png", ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
        "JPEG": ("jpg", ("L", "RGB", "CMYK")),
        "TIFF": ("tif", ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F")),
        "BMP": ("bmp", ("1", "L", "P", "RGB", "RGBA")),
        "GIF": ("gif", ("1", "L", "P")),
        "WEBP": ("webp", ("RGB", "RGBA")),
        "JPEG2000": ("jp2", ("L", "LA", "RGB", "RGBA", "I;16")),
        "PPM": ("ppm", ("1", "L", "RGB", "I")),
        "TGA": ("tga", ("L", "LA", "P", "RGB", "RGBA")),
        "PCX": ("pcx", ("1", "L", "P", "RGB")),
        "SGI": ("sgi", ("L", "RGB", "RGBA")),
        "DDS": ("dds", ("L", "LA", "RGB", "RGBA")),
        "QOI": ("qoi", ("RGB", "RGBA")),
        "ICO": ("ico", ("RGB", "RGBA")),
        "AVIF": ("avif", ("L", "RGB", "RGBA")),
        "HEIF": ("heic", ("RGB",)),
    }
    Image.init()
    for kind, (ending, modes) in kinds.items():
        for mode in modes if kind in Image.SAVE else ():
            files[f"{mode.replace(';', '')}.{ending}"] = encoded(scene(mode), kind)
    return files
