"""Encoded image bytes to RGB pixels: the one decoder, so that generator and trainer see the same picture.

Owns decoding, orientation, transparency and the size limit; patches are `images`' work, which offers
`decode_image` too: import it from there.
"""

import io
import struct
import zlib

import numpy as np
from PIL import ExifTags, Image

MAX_DECODED_PIXELS = 89_478_485
"""A larger image is refused before its pixels are allocated: a few bytes can claim gigabytes."""

_DECODE_ERRORS = (
    OSError,  # includes PIL.UnidentifiedImageError and truncated files
    SyntaxError,  # PIL's PNG reader
    ValueError,
    EOFError,
    IndexError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
# A PNG may keep its EXIF block behind the pixels: to look for it would cost `image_size` the decoding.
_FORMATS_WITH_ORIENTATION = ("JPEG", "MPO", "TIFF", "WEBP")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE = (5, 6, 7, 8)
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def decode_image(data: bytes) -> Image.Image:
    """Return the whole image as mode RGB, upright, transparent parts on white, of a GIF the first frame.

    Raises ValueError if the bytes are no image, are cut short, or hold over `MAX_DECODED_PIXELS`.
    """
    try:
        image = _open(data)
        image.load()
        return _to_rgb(_upright(image))
    except _DECODE_ERRORS as error:
        raise _undecodable(data, error) from error


def image_size(data: bytes) -> tuple[int, int]:
    """Return width and height that `decode_image` would give, without decoding pixels.

    Raises ValueError if the bytes do not begin as an image, or it is too large.
    """
    try:
        image = _open(data)
        width, height = image.size
        return (height, width) if _orientation(image) in _ON_ITS_SIDE else (width, height)
    except _DECODE_ERRORS as error:
        raise _undecodable(data, error) from error


def _open(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    width, height = image.size
    if width < 1 or height < 1 or width * height > MAX_DECODED_PIXELS:
        raise ValueError(f"must have 1 to {MAX_DECODED_PIXELS} pixels, got {width} x {height}")
    return image


def _undecodable(data: bytes, error: BaseException) -> ValueError:
    return ValueError(f"image must be decodable, got {len(data)} bytes: {error}")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) where there is none that can be read."""
    if image.format not in _FORMATS_WITH_ORIENTATION:
        return 1
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (*_DECODE_ERRORS, TypeError):  # a broken EXIF block does not make the pixels unusable
        return 1


def _upright(image: Image.Image) -> Image.Image:
    # Photographs say in their EXIF block which side is up; the Hub's Image feature applies it too.
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode in _DEEP_MODES:
        return _squeeze_depth(image).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    # A bare convert("RGB") shows whatever colour lies under full transparency, mostly black on black.
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _squeeze_depth(image: Image.Image) -> Image.Image:
    """Scale a deep greyscale image to 8 bits; a bare conversion would clip all above 255 to white."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    peak = float(values.max(initial=0.0))
    if image.mode == "F" and peak <= 1.0:
        scale = 255.0
    elif peak <= 255.0 and not image.mode.startswith("I;16"):
        scale = 1.0
    else:
        scale = 255.0 / 65535.0
    return Image.fromarray(np.clip(values * scale, 0.0, 255.0).astype(np.uint8), mode="L")
