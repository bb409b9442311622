"""Encoded image bytes to RGB pixels: the one decoder, so that generator and trainer see the same picture.

Owns decoding, orientation, transparency, and what is refused before it costs anything: formats that are not
plain pictures, and files that claim more than they may. Patches are `images`' work, which offers
`decode_image` too: import it from there. Reads bytes only; where they come from is `data.image_files`' work.
"""

import functools
import io
import warnings

import numpy as np
from PIL import ExifTags, Image

MAX_DECODED_PIXELS = 178_956_970
"""A larger image is refused before its pixels are allocated: a few bytes can claim gigabytes. Pillow's own
bound; data come in below `data.max_image_pixels`, which is at most this."""
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
"""No others are tried: Pillow would start ghostscript for a file that says it is EPS."""
MAX_JPEG_SCANS = 200
"""Each scan of a progressive JPEG may touch all its pixels: a small file of thousands decodes for hours."""

# A PNG may keep its EXIF block behind the pixels: to look for it would cost `image_size` the decoding. A TIFF
# is turned by Pillow itself, its size too.
_FORMATS_WITH_ORIENTATION = ("JPEG", "MPO", "WEBP")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Of images above half of what Pillow refuses: `max_pixels` decides here.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
_ON_ITS_SIDE = (5, 6, 7, 8)
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_START_OF_SCAN = b"\xff\xda"  # never inside a JPEG's compressed data


class ImageTooLarge(ValueError):
    """The file claims more pixels, or more work, than it may."""


def decode_image(data: bytes, *, max_pixels: int = MAX_DECODED_PIXELS) -> Image.Image:
    """Return the whole image as mode RGB, upright, transparent parts on white; an animation's first frame.

    It carries no metadata: whoever read the orientation there would turn it a second time, as vLLM does.
    Raises ImageTooLarge if it claims over `max_pixels`, before they are decoded, and ValueError if the bytes
    are no image of `FORMATS` or are cut short.
    """
    try:
        image = _open(data, max_pixels)
        image.load()
        bare = _to_rgb(_upright(image)).copy()  # a file's own object reads its EXIF block again
        bare.info = {}
        return bare
    except Exception as error:  # readers of a dozen formats, on bytes of anybody's: they raise anything
        raise _undecodable(data, error) from error


def image_size(data: bytes) -> tuple[int, int]:
    """Return width and height that `decode_image` would give, without decoding pixels.

    Raises ValueError if the bytes do not begin as an image, or it is too large.
    """
    try:
        image = _open(data, MAX_DECODED_PIXELS)
        width, height = image.size
        return (height, width) if _orientation(image) in _ON_ITS_SIDE else (width, height)
    except Exception as error:
        raise _undecodable(data, error) from error


def _open(data: bytes, max_pixels: int) -> Image.Image:
    if data[:2] == b"\xff\xd8" and (num_scans := data.count(_START_OF_SCAN)) > MAX_JPEG_SCANS:
        raise ImageTooLarge(f"must have at most {MAX_JPEG_SCANS} scans, got {num_scans}")
    image = Image.open(io.BytesIO(data), formats=_formats())
    width, height = image.size
    if width < 1 or height < 1:
        raise ValueError(f"must have at least 1 pixel, got {width} x {height}")
    if width * height > max_pixels:
        raise ImageTooLarge(f"must have at most {max_pixels} pixels, got {width} x {height}")
    return image


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this build of Pillow reads."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _undecodable(data: bytes, error: BaseException) -> ValueError:
    too_large = isinstance(error, ImageTooLarge | Image.DecompressionBombError)
    kind = ImageTooLarge if too_large else ValueError
    return kind(f"image must be decodable, got {len(data)} bytes: {error}")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) where there is none that can be read."""
    if image.format not in _FORMATS_WITH_ORIENTATION:
        return 1
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a broken EXIF block does not make the pixels unusable
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
    values = np.nan_to_num(np.array(image, dtype=np.float32), copy=False)
    peak = float(values.max(initial=0.0))
    if image.mode == "F" and peak <= 1.0:
        scale = 255.0
    elif peak <= 255.0 and not image.mode.startswith("I;16"):
        scale = 1.0
    else:
        scale = 255.0 / 65535.0
    return Image.fromarray(np.clip(values * scale, 0.0, 255.0).astype(np.uint8), mode="L")
