import subprocess
import sys

import pytest

from multimodal.encoders import ENCODERS, make_image_encoder, make_text_encoder
from multimodal.encoders.base import EncoderSettings, Family


def test_every_family_offers_something():
    for name in ENCODERS:
        family = ENCODERS.load(name)
        assert isinstance(family, Family)
        assert family.image or family.text


def test_families_and_their_list_import_nothing_heavy():
    heavy = ("torch", "transformers", "sentence_transformers", "open_clip", "PIL", "torchvision")
    code = (
        "import sys; from multimodal.encoders import ENCODERS\n"
        "import multimodal.encoders.cache, multimodal.text_cleaning, multimodal.text_prototypes\n"
        "[ENCODERS.load(name) for name in ENCODERS]\n"
        f"print(*sorted(set(sys.modules) & set({heavy})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_unknown_family_names_the_nearest():
    with pytest.raises(ValueError, match=r"encoder family must be one of.*did you mean 'minilm'"):
        make_text_encoder("minilm6")


def test_wrong_kind_names_the_right_ones():
    with pytest.raises(ValueError, match=r"encodes texts only; image encoders: \['open_clip'"):
        make_image_encoder("minilm")
    with pytest.raises(ValueError, match=r"encodes images only; text encoders: .*'sentence'"):
        make_text_encoder("cnn:x.npz")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"precision": "int4"}, "precision must be one of"), ({"batch_size": 0}, "at least 1")],
)
def test_settings_are_checked(wrong, message):
    with pytest.raises(ValueError, match=message):
        EncoderSettings(**wrong)


def test_settings_are_checked_before_anything_is_loaded():
    with pytest.raises(ValueError, match="at least 1"):
        make_text_encoder("minilm", batch_size=-1)
