"""Encoded images from the web to RGB pixels: bounded, or refused with a reason; never a crash."""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from multimodal.records import Problem

if TYPE_CHECKING:
    from PIL.Image import Image

# what the web serves; others are left out on purpose: EPS would start Ghostscript
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "JPEG2000")
SUFFIXES = frozenset(
    (
        *("jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp"),
        *("tif", "tiff", "avif", "ppm", "pgm", "jp2", "j2k"),
    )
)
ORIENTATION = 0x0112  # tag of EXIF


class ImageError(ValueError):
    """An image that cannot be used; `problem` is the reason for the audit."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.problem = Problem(code, detail)

    def __reduce__(self) -> tuple[type["ImageError"], tuple[str, str]]:
        return ImageError, (self.problem.code, self.problem.detail)


@dataclass(frozen=True)
class ImageLimits:
    """What is decoded at all.

    Attributes:
        max_bytes: Length of the encoded file. 32 MiB: web photos have 0.1 to 10 MB.
        max_pixels: Width times height by the header. 64 Mi: 192 MiB as RGB, a phone's largest
            photo. Pillow's own guard (179 million pixels) holds in any case.
    """

    max_bytes: int = 32 * 2**20
    max_pixels: int = 64 * 2**20

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_pixels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class ImageHygiene:
    """Which decoded images say nothing.

    Attributes:
        min_side: Smallest width and height in pixels.
        max_aspect: Largest ratio of the longer to the shorter side; 5 is the range 0.2 .. 5.
        max_flat_share: Largest share of the 64 x 64 grey pixels that may have one of 256 values,
            exclusive; None: not tested. CAPro uses 0.8 (`PAPER_HYGIENE`); the default only drops
            what is practically one colour, because a product photo is mostly its white ground:
            0.8 would drop 11.5 % of 2,000 sound web-shop photos (60 x 80), 0.98 none.

    Source: CAPro, data preparation (image hygiene).
    """

    min_side: int = 32
    max_aspect: float = 5.0
    max_flat_share: float | None = 0.98

    def __post_init__(self) -> None:
        if self.min_side < 1:
            raise ValueError(f"min_side must be at least 1, got {self.min_side}")
        if self.max_aspect < 1:
            raise ValueError(f"max_aspect must be at least 1, got {self.max_aspect}")
        if self.max_flat_share is not None and not 0 < self.max_flat_share <= 1:
            raise ValueError(f"max_flat_share must lie in (0, 1], got {self.max_flat_share}")


PAPER_HYGIENE = ImageHygiene(max_flat_share=0.8)


def decode_image(data: bytes, limits: ImageLimits = ImageLimits()) -> "Image":
    """The first frame of an encoded image as upright RGB.

    EXIF orientation is applied, transparency laid on white as a browser shows it, 16-bit and
    float grey scaled to 8 bits. Size is checked by the header before any pixel is decoded.

    Args:
        data: A file of one of `FORMATS`.
        limits: Bounds on bytes and pixels.

    Returns:
        A PIL image of mode RGB.

    Raises:
        ImageError: `image_too_large` or `image_undecodable`; nothing else, whatever the bytes.
    """
    if len(data) > limits.max_bytes:
        raise ImageError("image_too_large", f"{len(data):,} bytes, allowed {limits.max_bytes:,}")
    with _opened(data, limits) as image:
        image.load()
        return _to_rgb(_upright(image))


def check_hygiene(
    image: "Image",
    hygiene: ImageHygiene = ImageHygiene(),
) -> Problem | None:
    """What makes a decoded image worthless for learning, or None.

    Args:
        image: RGB image.
        hygiene: The rules.

    Returns:
        A problem `image_unusable` that names the rule, or None for a usable image.
    """
    short, long = sorted(image.size)
    if short < hygiene.min_side:
        return Problem("image_unusable", f"{image.width} x {image.height} pixels")
    if long > hygiene.max_aspect * short:
        return Problem("image_unusable", f"{image.width} x {image.height}: long and thin")
    if hygiene.max_flat_share is not None:
        share = flat_share(image)
        if share >= hygiene.max_flat_share:
            return Problem("image_unusable", f"{100 * share:.0f} % of the pixels are one grey")
    return None


def flat_share(image: "Image") -> float:
    """Share of the image's 64 x 64 grey pixels that have its most frequent value."""
    return max(image.convert("L").resize((64, 64)).histogram()) / 64**2


def thumbnail(
    data: bytes,
    side: int = 96,
    limits: ImageLimits = ImageLimits(),
) -> bytes:
    """A small JPEG of an encoded image, for a page.

    Args:
        data: The encoded image.
        side: Largest width and height in pixels; smaller images keep their size.
        limits: As for `decode_image`.

    Returns:
        An encoded JPEG without metadata.

    Raises:
        ImageError: The image cannot be decoded within the limits.
        ValueError: `side` is below 1.
    """
    if side < 1:
        raise ValueError(f"side must be at least 1, got {side}")
    image = decode_image(data, limits)
    image.thumbnail((side, side))
    written = io.BytesIO()
    image.save(written, "JPEG", quality=80)
    return written.getvalue()


@contextmanager
def _opened(data: bytes, limits: ImageLimits) -> Iterator["Image"]:
    """The image with its header read and its size allowed; errors of Pillow become `ImageError`."""
    from PIL import Image

    try:
        with _quiet_pillow(), Image.open(io.BytesIO(data), formats=_formats()) as image:
            if image.width * image.height > limits.max_pixels:
                raise ImageError(
                    "image_too_large",
                    f"{image.width} x {image.height} pixels, allowed {limits.max_pixels:,}",
                )
            yield image
    except ImageError:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise ImageError("image_too_large", _first_line(error)) from None
    # the decoders raise whatever happens to them: OSError, SyntaxError, struct.error, KeyError ...
    except Exception as error:
        raise ImageError("image_undecodable", _first_line(error)) from None


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this build of Pillow has; asking it for others is an error."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _upright(image: "Image") -> "Image":
    """Turned as its EXIF says; a broken EXIF block turns nothing."""
    from PIL import Image

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    try:
        turn = turns.get(image.getexif().get(ORIENTATION, 1))
    # a photo with damaged metadata is still a photo, and its parser raises many kinds of errors
    except Exception:
        return image
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: "Image") -> "Image":
    if image.mode.startswith(("I", "F")):
        return _grey_to_8_bits(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        from PIL import Image

        layered = image.convert("RGBA")
        ground = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(ground, layered).convert("RGB")
    # a copy, so that nothing keeps the encoded bytes alive
    return image.convert("RGB") if image.mode != "RGB" else image.copy()


def _grey_to_8_bits(image: "Image") -> "Image":
    """Pillow clips 16-bit grey at 255; here the range of the format is scaled."""
    from PIL import Image

    grey = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0, neginf=0)
    if image.mode == "F" and grey.max(initial=0) <= 1:
        grey = grey * 255
    elif image.mode != "F" or grey.max(initial=0) > 255:
        grey = grey / 257
    return Image.fromarray(np.clip(grey + 0.5, 0, 255).astype(np.uint8))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


_lock = threading.Lock()
_depth = 0
_filters: list["warnings.catch_warnings[None]"] = []


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """No warnings of Pillow: the filters of the process must not decide which images are read.

    `catch_warnings` alone would leave wrong filters behind when threads overlap, so only the
    first thread in and the last one out change them.
    """
    global _depth
    with _lock:
        _depth += 1
        if _depth == 1:
            caught = warnings.catch_warnings()
            caught.__enter__()
            _filters.append(caught)
            warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _filters.pop().__exit__(None, None, None)
