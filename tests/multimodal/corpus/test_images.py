import io
import pickle
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from multimodal.corpus.images import (
    PAPER_HYGIENE,
    ImageError,
    ImageHygiene,
    ImageLimits,
    check_hygiene,
    decode_image,
    flat_share,
    thumbnail,
)
from tests.multimodal.corpus.making import encoded, jpeg, photo, png_bomb

SMALL = ImageLimits(max_pixels=10_000)


def code(data: bytes, limits: ImageLimits = ImageLimits()) -> str:  # noqa: B008
    with pytest.raises(ImageError) as caught:
        decode_image(data, limits)
    return caught.value.problem.code


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "GIF"])
def test_lossless_formats_give_their_pixels(form):
    options = {"lossless": True} if form == "WEBP" else {}
    image = photo(1).quantize(200).convert("RGB") if form == "GIF" else photo(1)
    decoded = decode_image(encoded(image, form, **options))
    assert decoded.mode == "RGB"
    if form != "GIF":
        assert np.array_equal(np.asarray(decoded), np.asarray(image))
    else:
        assert np.abs(np.asarray(decoded, int) - np.asarray(image, int)).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_pillow_does(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photo(2), "PNG", exif=exif)
    with Image.open(io.BytesIO(data)) as opened:
        expected = ImageOps.exif_transpose(opened)
    assert np.array_equal(np.asarray(decode_image(data)), np.asarray(expected))


def test_transparency_lies_on_white():
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    assert decode_image(encoded(clear, "PNG")).getpixel((0, 0)) == (255, 255, 255)
    assert decode_image(encoded(half, "PNG")).getpixel((0, 0)) == (255, 127, 127)
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert decode_image(encoded(palette, "PNG")).getpixel((0, 0)) == (10, 20, 30)
    see_through = encoded(palette, "PNG", transparency=bytes([255, 0]))
    assert decode_image(see_through).getpixel((0, 0)) == (255, 255, 255)


def test_other_modes_become_rgb():
    assert decode_image(encoded(Image.new("L", (3, 3), 77), "PNG")).getpixel((0, 0)) == (77,) * 3
    assert decode_image(encoded(Image.new("1", (3, 3), 1), "PNG")).getpixel((0, 0)) == (255,) * 3
    cmyk = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")
    red, green, blue = decode_image(cmyk).getpixel((8, 8))
    assert red > 200 > 60 > max(green, blue)
    deep = Image.fromarray(np.array([[0, 257 * 100, 65535]], dtype=np.uint16))
    for form in ("PNG", "TIFF"):
        pixels = np.asarray(decode_image(encoded(deep, form)))[0, :, 0]
        assert pixels.tolist() == [0, 100, 255]
    for values in ([0.0, 0.2, 1.0], [0.0, 51.0, 255.0], [np.nan, np.inf, -np.inf]):
        floats = Image.fromarray(np.array([values], dtype=np.float32))
        pixels = np.asarray(decode_image(encoded(floats, "TIFF")))[0, :, 0].tolist()
        assert pixels == ([0, 51, 255] if values[0] == 0 else [0, 0, 0])


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_the_first_frame_of_an_animation(form):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    red, green, _ = decode_image(data).getpixel((10, 10))
    assert red > 200
    assert green < 50


def test_sizes_are_checked_before_pixels():
    assert code(png_bomb(5_000), SMALL) == "image_too_large"
    for side in (5_000, 12_000, 50_000, 2**31 - 1):  # the last are beyond Pillow's own guard
        assert code(png_bomb(side), ImageLimits(max_pixels=10**6)) == "image_too_large"
    assert code(jpeg(), ImageLimits(max_bytes=100)) == "image_too_large"
    assert decode_image(jpeg(), ImageLimits(max_pixels=48 * 40)).size == (48, 40)
    assert code(jpeg(), ImageLimits(max_pixels=48 * 40 - 1)) == "image_too_large"


def test_pillows_global_guard_is_left_alone():
    before = Image.MAX_IMAGE_PIXELS
    code(png_bomb(12_000), ImageLimits(max_pixels=10**9))
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_a_truncated_image_is_undecodable(form):
    data = encoded(photo(3), form)
    for share in (0.02, 0.3, 0.9):
        assert code(data[: int(share * len(data))]) == "image_undecodable"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"<html></html>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"GIF89a" + bytes(20),
        b"II*\0" + bytes(100),
        b"RIFF\x10\0\0\0WEBPVP8 ",
    ],
)
def test_what_is_no_image_is_undecodable(data):
    assert code(data) == "image_undecodable"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_bytes_raise_anything_else(data):
    form = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"]))
    exif = Image.Exif()
    exif[0x0112] = 6
    mutated = bytearray(
        encoded(photo(5, (24, 20)), form, **({} if form in ("GIF", "BMP") else {"exif": exif}))
    )
    for _ in range(data.draw(st.integers(1, 12))):
        # the head, where the structure is, is hit more often
        place = data.draw(
            st.integers(0, min(len(mutated) - 1, data.draw(st.sampled_from([60, 10**6]))))
        )
        mutated[place] = data.draw(st.integers(0, 255))
    mutated = (
        mutated[: data.draw(st.integers(0, len(mutated)))] if data.draw(st.booleans()) else mutated
    )
    try:
        image = decode_image(bytes(mutated), ImageLimits(max_pixels=10**6))
    except ImageError as error:
        assert error.problem.code in ("image_undecodable", "image_too_large")  # noqa: PT017
        return
    assert image.mode == "RGB"
    assert image.width * image.height <= 10**6
    thumbnail(bytes(mutated), 8, ImageLimits(max_pixels=10**6))


def test_damaged_metadata_neither_warns_nor_refuses():
    exif = (
        b"Exif\0\0II*\0\x08\0\0\0\xff\x7f" + b"\x12\x01\x03\0\xff\xff\xff\x7f\xff\xff\xff\x7f" * 3
    )
    data = encoded(photo(1), "JPEG", exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_image(data).size == (48, 40)


def test_overlapping_threads_leave_the_filters_as_they_were():
    before = list(warnings.filters)
    barrier = threading.Barrier(8)

    def work():
        barrier.wait()
        for number in range(20):
            decode_image(jpeg(number))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_hygiene_by_hand():
    assert check_hygiene(photo(0, (32, 32))) is None
    assert "31 x 40" in check_hygiene(photo(0, (31, 40))).detail
    assert check_hygiene(photo(0, (40, 200))) is None
    assert "long and thin" in check_hygiene(photo(0, (40, 201))).detail
    assert "long and thin" in check_hygiene(photo(0, (201, 40))).detail
    flat = Image.new("RGB", (64, 64), "white")
    assert check_hygiene(flat).code == "image_unusable"
    assert check_hygiene(flat, ImageHygiene(max_flat_share=None)) is None
    # 90 % white: a product photo for the default, nothing for the paper
    flat.paste(photo(0, (64, 6)), (0, 0))
    assert 0.9 <= flat_share(flat) < 0.92
    assert check_hygiene(flat) is None
    assert check_hygiene(flat, PAPER_HYGIENE).code == "image_unusable"


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: ImageHygiene(min_side=0), "min_side"),
        (lambda: ImageHygiene(max_aspect=0.2), "max_aspect"),
        (lambda: ImageHygiene(max_flat_share=80), "max_flat_share"),
        (lambda: ImageLimits(max_bytes=0), "max_bytes"),
        (lambda: ImageLimits(max_pixels=-1), "max_pixels"),
        (lambda: thumbnail(jpeg(), 0), "side"),
    ],
)
def test_settings_are_checked(make, named):
    with pytest.raises(ValueError, match=named):
        make()


def test_thumbnails():
    small = decode_image(thumbnail(encoded(photo(0, (300, 150)), "PNG"), 96))
    assert small.size == (96, 48)
    assert decode_image(thumbnail(jpeg(), 96)).size == (48, 40)
    with pytest.raises(ImageError):
        thumbnail(png_bomb(50_000))


def test_the_error_survives_a_process_border():
    error = pickle.loads(pickle.dumps(ImageError("image_too_large", "7 bytes")))
    assert error.problem.code == "image_too_large"
    assert str(error) == "image_too_large: 7 bytes"


@pytest.mark.real_data
def test_the_default_keeps_every_photo_of_a_web_shop(real_data):
    from multimodal.corpus import open_corpus

    corpus = open_corpus(real_data / "fashion2k", rows_per_shard=500)
    images = [decode_image(r.image) for r in corpus.shards[0].records()]
    assert not any(check_hygiene(image) for image in images)
    refused = np.mean([check_hygiene(image, PAPER_HYGIENE) is not None for image in images])
    assert 0.05 < refused < 0.2
