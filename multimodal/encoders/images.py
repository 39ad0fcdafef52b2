"""From an encoded file to the RGB pixels a model takes: decoding, resizing, cropping, scaling."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

# refuse before decoding: 89 million pixels are a quarter of a gigabyte (Pillow warns there too)
MAX_PIXELS = 89_478_485


def rgb_image(source: "bytes | Path | Image", *, max_pixels: int = MAX_PIXELS) -> "Image":
    """Decode to RGB, upright, with transparent parts on white.

    Args:
        source: An encoded file, its path, or an image already open.
        max_pixels: Larger images are refused from their header, before any pixel is decoded.

    Raises:
        ValueError: Not an image, truncated, or too large.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        if isinstance(source, Image.Image):
            image = source
        else:
            image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
        if image.width * image.height > max_pixels:
            raise ValueError(f"image has {image.width}x{image.height} pixels, over {max_pixels}")
        if image.mode == "RGB" and not image.getexif():
            image.load()
            return image
        image = ImageOps.exif_transpose(image)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        return image.convert("RGB")
    except FileNotFoundError as error:
        raise ValueError(f"there is no image at {source!r}") from error
    except (UnidentifiedImageError, OSError, SyntaxError, EOFError) as error:
        # Pillow's plug-ins raise any of these for damaged files
        raise ValueError(f"image cannot be decoded: {error}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"image is too large to be decoded: {error}") from error


@dataclass(frozen=True)
class Preprocessing:
    """Short side to `resize` (bilinear), square of `crop` from the centre, scaled per channel.

    Attributes:
        resize: Length of the short side, in pixels.
        crop: Side of the square.
        mean: Per channel, of values in 0..1.
        std: Likewise.
    """

    resize: int
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def pixels(self, image: "Image") -> NDArray[np.uint8]:
        """Pixels ``[crop, crop, 3]`` of an RGB image."""
        from PIL import Image

        scale = self.resize / min(image.size)
        width, height = (max(self.resize, round(side * scale)) for side in image.size)
        left, top = (width - self.crop) // 2, (height - self.crop) // 2
        small = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(small.crop((left, top, left + self.crop, top + self.crop)))

    def scaled(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Float32 that the network takes, of pixels ``[..., W, 3]`` in 0..255."""
        mean, std = (np.asarray(values, np.float32) for values in (self.mean, self.std))
        # by whole lines of pixels: numpy is slow over runs of three
        line = pixels.shape[-2] * 3
        factor, shift = (np.tile(row, line // 3) for row in (1 / (255 * std), -mean / std))
        scaled = np.multiply(pixels.reshape(-1, line), factor, dtype=np.float32)
        scaled += shift
        return scaled.reshape(pixels.shape)


# [-1, 1], as TensorFlow's MobileNets take it
TENSORFLOW = Preprocessing(224, 224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
# torchvision's evaluation transform of ImageNet models
TORCHVISION = Preprocessing(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
