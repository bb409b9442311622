"""The one decoder that generator and trainer share. Lives here because data is its first caller."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pgpo_async.policy.decoding import MAX_DECODED_PIXELS, image_size
from pgpo_async.policy.images import decode_image, image_grid, preprocess


def saved(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


def colour(data: bytes) -> tuple[int, ...]:
    value = decode_image(data).getpixel((0, 0))
    assert isinstance(value, tuple)
    return value


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


def test_transparent_parts_are_white_whatever_colour_lies_under_them() -> None:
    assert colour(saved(Image.new("RGBA", (2, 2), (0, 0, 0, 0)))) == (255, 255, 255)
    assert colour(saved(Image.new("RGBA", (2, 2), (200, 0, 0, 255)))) == (200, 0, 0)
    assert colour(saved(Image.new("LA", (2, 2), (0, 0)))) == (255, 255, 255)
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([9, 9, 9, 8, 8, 8])
    assert colour(saved(palette)) == (9, 9, 9)
    assert colour(saved(palette, transparency=0)) == (255, 255, 255)


def test_deep_greyscale_is_scaled_and_not_clipped() -> None:
    deep = Image.fromarray(np.full((2, 2), 32768, dtype=np.uint16))
    assert colour(saved(deep)) == (127, 127, 127)
    assert colour(saved(Image.new("F", (2, 2), 0.5), "TIFF")) == (127, 127, 127)
    assert colour(saved(Image.new("I", (2, 2), 200), "TIFF")) == (200, 200, 200)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_stand_upright_and_the_header_alone_tells_their_size(orientation: int) -> None:
    pixels = np.zeros((16, 32, 3), dtype=np.uint8)
    pixels[:8, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(pixels), "JPEG", exif=exif, quality=100, subsampling=0)
    image = decode_image(data)
    assert image.size == ((16, 32) if orientation >= 5 else (32, 16)) == image_size(data)
    bright = np.argwhere(np.asarray(image)[..., 0] > 128).mean(axis=0) > np.array(image.size[::-1]) / 2
    expected = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}
    assert tuple(bright.astype(int)) == expected[orientation]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_decoded_image_holds_no_orientation_that_anybody_could_apply_again(form: str, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.new("RGB", (32, 16)).convert(mode), form, exif=exif)
    image = decode_image(data)
    assert image.size == image_size(data) == ImageOps.exif_transpose(image).size
    assert image.size == ((32, 16) if form == "PNG" else (16, 32))
    assert (dict(image.getexif()), image.info) == ({}, {})


def test_the_blind_pass_gets_the_grid_of_a_turned_photograph() -> None:
    from pgpo_async.demo.tokenizer import build_processor

    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.new("RGB", (140, 56)), "JPEG", exif=exif)
    processor = build_processor().image_processor
    assert preprocess(processor, [data]).grids.tolist() == [list(image_grid(processor, data))] == [[1, 10, 4]]


def test_a_claim_of_gigabytes_is_refused_before_pixels_are_allocated() -> None:
    side = int(MAX_DECODED_PIXELS**0.5) + 2
    for data in (png_claiming(side, side), png_claiming(60_000, 60_000)):
        with pytest.raises(ValueError, match="must be decodable"):
            decode_image(data)
        with pytest.raises(ValueError, match="must be decodable"):
            image_size(data)


WHOLE = {
    form: saved(Image.fromarray(np.arange(3 * 40 * 40, dtype=np.uint8).reshape(40, 40, 3)), form)
    for form in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
}


@settings(deadline=None)
@given(form=st.sampled_from(sorted(WHOLE)), share=st.floats(0, 0.9))
def test_a_file_cut_short_is_an_error_and_never_half_a_picture(form: str, share: float) -> None:
    data = WHOLE[form]
    with pytest.raises(ValueError, match="image must be decodable"):
        decode_image(data[: int(len(data) * share)])


@settings(deadline=None)
@given(form=st.sampled_from(sorted(WHOLE)), where=st.floats(0, 0.999), value=st.integers(0, 255))
def test_a_damaged_file_gives_rgb_or_value_error_and_nothing_else(
    form: str, where: float, value: int
) -> None:
    data = bytearray(WHOLE[form])
    data[int(where * len(data))] = value
    try:
        assert decode_image(bytes(data)).mode == "RGB"
        image_size(bytes(data))
    except ValueError:
        pass
