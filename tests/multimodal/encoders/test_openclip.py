"""A tiny random CLIP of open_clip, saved and read again; skipped without the extra clip."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from multimodal.encoders import make_image_encoder, make_text_encoder

CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
TEXTS = ["a red shirt", "a", "leather bag with a golden buckle"]


@pytest.fixture(scope="module")
def open_clip(torchvision):
    if find_spec("open_clip") is None:
        pytest.skip("open_clip is not installed")
    import open_clip

    return open_clip


@pytest.fixture(scope="module")
def weights(open_clip, tmp_path_factory):
    from json import dumps

    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("open_clip")
    (folder / "tiny.json").write_text(dumps(CONFIG))
    open_clip.add_model_config(folder / "tiny.json")
    torch.manual_seed(0)
    model = open_clip.create_model("tiny")
    save_file(model.state_dict(), folder / "tiny.safetensors")
    return folder / "tiny.safetensors"


def images(n=5):
    noise = np.random.default_rng(3)
    shapes = noise.integers(30, 70, (n, 2))
    return [Image.fromarray(noise.integers(0, 256, (h, w, 3), np.uint8)) for h, w in shapes]


def test_both_towers_equal_the_models_own(open_clip, weights):
    model, _, transform = open_clip.create_model_and_transforms("tiny", pretrained=str(weights))
    tokenizer = open_clip.get_tokenizer("tiny")
    model.eval()
    pictures = images()
    with torch.inference_mode():
        pixels = torch.stack([transform(picture) for picture in pictures])
        wanted_images, wanted_texts, _ = model(pixels, tokenizer(TEXTS))[:3]
    image = make_image_encoder(f"open_clip:tiny@{weights}", batch_size=2)
    text = make_text_encoder(f"open_clip:tiny@{weights}", batch_size=2)
    np.testing.assert_allclose(image.encode(pictures), wanted_images.numpy(), atol=1e-5)
    np.testing.assert_allclose(text.encode(TEXTS), wanted_texts.numpy(), atol=1e-5)
    assert image.width == text.width == 8
    assert image.space == text.space
    assert len({image.key, text.key, image.space}) == 3


def test_key_lasts_and_follows_the_weights(open_clip, weights, tmp_path):
    from safetensors.torch import load_file, save_file

    key = make_image_encoder(f"open_clip:tiny@{weights}").key
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(weights.read_bytes())
    assert make_image_encoder(f"open_clip:tiny@{copy}").key == key
    state = load_file(weights)
    state["logit_scale"] += 1
    save_file(state, tmp_path / "other.safetensors")
    assert make_image_encoder(f"open_clip:tiny@{tmp_path / 'other.safetensors'}").key != key


def test_a_pickle_with_code_is_not_run(open_clip, weights, tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    torch.save({"state_dict": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(Exception, match="Weights only load failed"):
        make_image_encoder(f"open_clip:tiny@{tmp_path / 'trap.pt'}")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["", "ViT-B-32", "/tag", "ViT-B-32/"])
def test_the_spec_needs_model_and_weights(name):
    with pytest.raises(ValueError, match="open_clip needs MODEL/TAG"):
        make_image_encoder(f"open_clip:{name}")


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(ValueError, match="no file of weights at"):
        make_image_encoder(f"open_clip:ViT-B-32@{tmp_path}/none.safetensors")


@pytest.mark.skipif(find_spec("open_clip") is not None, reason="open_clip is installed")
def test_missing_extra_is_named():
    with pytest.raises(ImportError, match=r"graphnoise\[clip\]"):
        make_image_encoder("open_clip:ViT-B-32/openai")
