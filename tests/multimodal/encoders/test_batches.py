import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from multimodal.encoders.batches import encode_images, encode_texts
from multimodal.encoders.images import Preprocessing, rgb_image


class MeanColour:
    """Mean colour of an image, and how many images it was handed at most."""

    key = space = "colour"
    width = 3

    def __init__(self, batch_size=4):
        self.batch_size, self.most = batch_size, 0

    def encode(self, images):
        self.most = max(self.most, len(images))
        rows = np.array([np.asarray(image).mean((0, 1)) for image in images])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class TwoLetters:
    """Code points of a text's ends, and every text it was handed."""

    key = space = "letters"
    width = 2

    def __init__(self, batch_size=4):
        self.batch_size, self.seen = batch_size, []

    def encode(self, texts):
        assert 0 < len(texts) <= self.batch_size
        self.seen += texts
        rows = np.array([[ord(text[0]), ord(text[-1])] for text in texts], float)
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def picture(seed=0, size=(9, 7), mode="RGB"):
    noise = np.random.default_rng(seed)
    shape = (size[1], size[0], len(mode)) if len(mode) > 1 else size[::-1]
    return Image.fromarray(noise.integers(1, 256, shape, np.uint8), mode)


def as_file(image, kind="PNG", **settings):
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


class TestImages:
    @pytest.mark.parametrize("batch_size", [1, 3, 50])
    def test_rows_stand_where_their_images_stand(self, tmp_path, batch_size):
        images = [picture(seed) for seed in range(7)]
        (tmp_path / "five.png").write_bytes(as_file(images[5]))
        sources = [as_file(image) for image in images]
        sources[5] = tmp_path / "five.png"
        sources[6] = images[6]
        encoder, told = MeanColour(batch_size), []
        found = encode_images(encoder, [None, *sources, None], progress=told.append)
        np.testing.assert_array_equal(found[1:-1], MeanColour().encode(images))
        assert not found[[0, -1]].any()
        assert told[-1] == 9
        assert encoder.most <= batch_size

    def test_images_are_decoded_a_batch_at_a_time(self):
        """A stream is read no further than the batch being encoded."""
        encoder, read = MeanColour(2), []

        def stream():
            for seed in range(6):
                read.append(seed)
                yield as_file(picture(seed))

        encode_images(encoder, stream(), progress=lambda done: read.append(f"done {done}"))
        assert read == [0, 1, "done 2", 2, 3, "done 4", 4, 5, "done 6"]

    def test_broken_images_are_named_or_refused(self):
        whole = as_file(picture(size=(40, 40)), "JPEG")
        sources = [whole, b"no image", whole[: len(whole) // 2], None, whole]
        with pytest.raises(ValueError, match="image 1: image cannot be decoded"):
            encode_images(MeanColour(batch_size=1), sources)
        refused = {}
        found = encode_images(MeanColour(batch_size=2), sources, refused=refused)
        assert sorted(refused) == [1, 2]
        assert "truncated" in refused[2]
        assert found.any(axis=1).tolist() == [True, False, False, False, True]

    def test_no_images(self):
        assert encode_images(MeanColour(), []).shape == (0, 3)
        assert not encode_images(MeanColour(), [None, None]).any()


class TestTexts:
    @given(st.lists(st.one_of(st.none(), st.text("ab", max_size=3)), max_size=30))
    def test_equal_texts_are_encoded_once(self, texts):
        encoder = TwoLetters()
        found = encode_texts(encoder, iter(texts))
        full = [text for text in texts if text]
        assert sorted(encoder.seen) == sorted(set(full))
        missing = [not text for text in texts]
        assert not found[missing].any()
        if full:
            wanted = TwoLetters(len(full)).encode(full)
            np.testing.assert_array_equal(found[~np.array(missing)], wanted)

    def test_blocks_of_texts(self, monkeypatch):
        texts, told = [chr(97 + i % 20) * (i % 5) for i in range(57)], []
        whole = encode_texts(TwoLetters(), texts)
        monkeypatch.setattr("multimodal.encoders.batches.TEXTS_TOGETHER", 10)
        np.testing.assert_array_equal(
            encode_texts(TwoLetters(), texts, progress=told.append), whole
        )
        assert told == [10, 20, 30, 40, 50, 57]


class TestDecoding:
    def test_transparent_parts_are_white(self):
        image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
        image.putpixel((0, 0), (0, 0, 255, 255))
        found = np.asarray(rgb_image(as_file(image)))
        assert found[0, 0].tolist() == [0, 0, 255]
        assert (found.reshape(-1, 3)[1:] == 255).all()

    @pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "I;16", "LA"])
    def test_every_mode_becomes_rgb(self, mode):
        grey = picture(mode="L")
        image = Image.fromarray(np.asarray(grey).astype(np.uint16) << 8) if mode == "I;16" else grey
        kind = "TIFF" if mode == "CMYK" else "PNG"
        found = rgb_image(as_file(image if mode == "I;16" else image.convert(mode), kind))
        assert found.mode == "RGB"
        assert found.size == grey.size

    def test_photographs_stand_upright(self):
        image = picture(size=(8, 4))
        turned = Image.Exif()
        turned[0x0112] = 6  # the camera was held on its side
        assert rgb_image(as_file(image, "JPEG", exif=turned)).size == (4, 8)

    def test_large_images_are_refused_from_their_header(self):
        with pytest.raises(ValueError, match="9x7 pixels, over 62"):
            rgb_image(as_file(picture()), max_pixels=62)
        assert rgb_image(as_file(picture()), max_pixels=63).size == (9, 7)
        bomb = b"P6 60000 60000 255\n"
        with pytest.raises(ValueError, match=r"60000x60000 pixels|too large"):
            rgb_image(bomb)

    def test_missing_file(self, tmp_path):
        with pytest.raises(ValueError, match="no image at"):
            rgb_image(tmp_path / "none.jpg")


class TestPreprocessing:
    def test_the_centre_square_is_kept(self):
        image = Image.new("RGB", (30, 10), "black")
        image.paste("white", (10, 0, 20, 10))
        pixels = Preprocessing(10, 10, (0, 0, 0), (1, 1, 1)).pixels(image)
        assert pixels.shape == (10, 10, 3)
        assert (pixels == 255).all()

    def test_values_are_scaled_per_channel(self):
        scaled = Preprocessing(2, 2, (0.5, 0, 0.25), (0.5, 1, 0.25)).scaled(
            np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
        )
        np.testing.assert_allclose(scaled, [[-1, 0, -1], [1, 1, 3]], atol=1e-6)

    @pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (224, 224), (225, 333)])
    def test_any_shape_gives_the_square(self, size):
        assert Preprocessing(16, 12, (0, 0, 0), (1, 1, 1)).pixels(picture(size=size)).shape == (
            12,
            12,
            3,
        )
