import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional

from multimodal.encoders import make_image_encoder
from multimodal.encoders.cnn import CNNEncoder
from multimodal.encoders.cnn_networks import Convolution
from multimodal.encoders.cnn_weights import read_network
from multimodal.encoders.images import TENSORFLOW, TORCHVISION

# (expansion, channels, blocks, stride) of MobileNetV2's table 2, with the widths of a toy
TOY_MOBILENET = ((1, 4, 1, 1), (2, 4, 2, 2), (2, 8, 2, 2), (2, 8, 1, 2), (2, 12, 1, 1))
TOY_MOBILENET += ((2, 12, 1, 2), (2, 16, 1, 1))


class StateDict(dict):
    """Random weights under torchvision's names, and the same networks unfolded, as the oracle."""

    def __init__(self, seed):
        super().__init__()
        self.noise = torch.Generator().manual_seed(seed)

    def conv(self, name, out, into, kernel, norm):
        fan = into * kernel * kernel
        self[f"{name}.weight"] = torch.randn(out, into, kernel, kernel, generator=self.noise)
        self[f"{name}.weight"] *= (2 / fan) ** 0.5
        self[f"{norm}.weight"] = torch.rand(out, generator=self.noise) + 0.5
        self[f"{norm}.bias"] = torch.randn(out, generator=self.noise) / 4
        self[f"{norm}.running_mean"] = torch.randn(out, generator=self.noise) / 4
        self[f"{norm}.running_var"] = torch.rand(out, generator=self.noise) + 0.5
        self[f"{norm}.num_batches_tracked"] = torch.tensor(3)

    def apply(self, x, name, norm, stride=1, groups=1):
        kernel = self[f"{name}.weight"].shape[-1]
        y = functional.conv2d(
            x, self[f"{name}.weight"].double(), None, stride, kernel // 2, 1, groups
        )
        parts = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(y, *(self[f"{norm}.{part}"].double() for part in parts))


def toy_mobilenet(seed=0):
    state, number, into = StateDict(seed), 1, 4
    state.conv("features.0.0", 4, 3, 3, "features.0.1")
    for expansion, channels, blocks, _ in TOY_MOBILENET:
        for _ in range(blocks):
            name, inner, wide = f"features.{number}.conv", 0, into * expansion
            if expansion > 1:
                state.conv(f"{name}.0.0", wide, into, 1, f"{name}.0.1")
                inner = 1
            state.conv(f"{name}.{inner}.0", wide, 1, 3, f"{name}.{inner}.1")
            state.conv(f"{name}.{inner + 1}", channels, wide, 1, f"{name}.{inner + 2}")
            number, into = number + 1, channels
    return state, number


def plain_mobilenet(state, last, x):
    """(early, middle, last) features, one convolution after the other, in float64."""
    x = functional.relu6(state.apply(x, "features.0.0", "features.0.1", 2))
    number, inner_layers = 1, []
    for expansion, _, blocks, first in TOY_MOBILENET:
        for block in range(blocks):
            name, stride = f"features.{number}.conv", first if block == 0 else 1
            y, inner = x, 0
            if expansion > 1:
                y, inner = functional.relu6(state.apply(y, f"{name}.0.0", f"{name}.0.1")), 1
            if stride == 2:
                inner_layers.append(y.mean((2, 3)))
            depthwise = (f"{name}.{inner}.0", f"{name}.{inner}.1")
            y = functional.relu6(state.apply(y, *depthwise, stride, y.shape[1]))
            y = state.apply(y, f"{name}.{inner + 1}", f"{name}.{inner + 2}")
            x = x + y if stride == 1 and x.shape == y.shape else y
            number += 1
    assert number == last
    top = functional.relu6(state.apply(x, f"features.{last}.0", f"features.{last}.1"))
    return inner_layers[2], inner_layers[3], top.mean((2, 3))


def toy_resnet(kind, seed=0):
    state, into = StateDict(seed), 4
    state.conv("conv1", 4, 3, 7, "bn1")
    for stage in range(1, 5):
        for block in range(2):
            name, out = f"layer{stage}.{block}", 4 * 2 ** (stage - 1)
            if kind == "basic":
                state.conv(f"{name}.conv1", out, into, 3, f"{name}.bn1")
                state.conv(f"{name}.conv2", out, out, 3, f"{name}.bn2")
            else:
                # grouped as ResNeXt has it
                state.conv(f"{name}.conv1", out, into, 1, f"{name}.bn1")
                state.conv(f"{name}.conv2", out, out // 2, 3, f"{name}.bn2")
                state.conv(f"{name}.conv3", 2 * out, out, 1, f"{name}.bn3")
                out *= 2
            if block == 0 and (stage > 1 or into != out):
                state.conv(f"{name}.downsample.0", out, into, 1, f"{name}.downsample.1")
            into = out
    return state


def plain_resnet(state, kind, x):
    x = functional.relu(state.apply(x, "conv1", "bn1", 2))
    x, features = functional.max_pool2d(x, 3, 2, 1), []
    for stage in range(1, 5):
        for block in range(2):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            strides = (stride, 1) if kind == "basic" else (1, stride, 1)
            y = x
            for i, step in enumerate(strides, start=1):
                groups = 2 if kind != "basic" and i == 2 else 1
                y = state.apply(y, f"{name}.conv{i}", f"{name}.bn{i}", step, groups)
                y = functional.relu(y) if i < len(strides) else y
            if f"{name}.downsample.0.weight" in state:
                x = state.apply(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
            x = functional.relu(x + y)
        features.append(x.mean((2, 3)))
    return features[1], features[2], features[3]


def pictures(n, seed=0):
    noise = np.random.default_rng(seed)
    sizes = noise.integers(40, 90, size=(n, 2))
    return [
        Image.fromarray(noise.integers(0, 256, (height, width, 3), np.uint8))
        for height, width in sizes
    ]


class TestNetworks:
    @pytest.mark.parametrize(("layer", "number"), [("early", 0), ("middle", 1), ("last", 2)])
    def test_mobilenet_equals_its_layers_one_by_one(self, tmp_path, layer, number, monkeypatch):
        state, last = toy_mobilenet()
        state.conv(f"features.{last}.0", 20, 16, 1, f"features.{last}.1")
        path = tmp_path / "toy.safetensors"
        save_file(dict(state), path)
        # the toy has its strides elsewhere than torchvision's full network
        monkeypatch.setattr("multimodal.encoders.cnn_weights.HALVING_FEATURES", (2, 4, 6, 8))
        network, preprocessing = read_network(path, layer)
        x = torch.randn(2, 3, 70, 53, dtype=torch.float64)
        wanted = plain_mobilenet(state, last, x)[number]
        torch.testing.assert_close(network(x.float()).double(), wanted, atol=1e-5, rtol=1e-4)
        assert network.width == wanted.shape[1]
        assert preprocessing == TORCHVISION

    @pytest.mark.parametrize("kind", ["basic", "bottleneck"])
    @pytest.mark.parametrize(("layer", "number"), [("early", 0), ("middle", 1), ("last", 2)])
    def test_resnet_equals_its_layers_one_by_one(self, tmp_path, kind, layer, number):
        state = toy_resnet(kind)
        path = tmp_path / "toy.safetensors"
        save_file(dict(state), path)
        network, _ = read_network(path, layer)
        x = torch.randn(2, 3, 70, 53, dtype=torch.float64)
        wanted = plain_resnet(state, kind, x)[number]
        torch.testing.assert_close(network(x.float()).double(), wanted, atol=1e-4, rtol=1e-4)
        assert network.width == wanted.shape[1]

    @pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "resnext50_32x4d"])
    def test_against_torchvision(self, tmp_path, name, torchvision):
        torch.manual_seed(0)
        peer = getattr(torchvision.models, name)(weights=None).eval()
        for part in peer.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.running_mean.normal_(std=0.1)
                part.running_var.uniform_(0.5, 1.5)
        path = tmp_path / "weights.safetensors"
        save_file(peer.state_dict(), path)
        network, _ = read_network(path, "last")
        # the head is replaced by nothing
        head = "classifier" if name == "mobilenet_v2" else "fc"
        setattr(peer, head, torch.nn.Identity())
        x = torch.randn(2, 3, 96, 96)
        with torch.inference_mode():
            wanted = peer(x)
            torch.testing.assert_close(network(x), wanted, atol=1e-4, rtol=1e-3)

    @pytest.mark.parametrize("size", [(7, 7), (8, 8), (7, 8), (1, 5)])
    def test_same_padding_reads_where_tensorflow_reads(self, size):
        # one input pixel per output pixel is shown by a kernel with a single one; TensorFlow's
        # first window starts at -(pad // 2): -1 for odd sides, 0 for even ones
        image = torch.arange(size[0] * size[1], dtype=torch.float32).view(1, 1, *size)
        kernel = torch.zeros(1, 1, 3, 3)
        kernel[0, 0, 1, 1] = 1
        found = Convolution(kernel, torch.zeros(1), stride=2, same=True)(image)[0, 0]
        rows, columns = (np.arange(-(-side // 2)) * 2 + (side % 2 == 0) for side in size)
        np.testing.assert_array_equal(found.numpy(), image[0, 0].numpy()[np.ix_(rows, columns)])


class TestFiles:
    def test_other_files_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"\.safetensors or \.npz"):
            read_network(tmp_path / "weights.pth", "last")
        with pytest.raises(ValueError, match="no file of weights"):
            read_network(tmp_path / "weights.npz", "last")
        np.savez(tmp_path / "other.npz", embedding=np.zeros(3))
        with pytest.raises(ValueError, match=r"mobilenet_v2 or resnet.*embedding"):
            read_network(tmp_path / "other.npz", "last")

    def test_missing_arrays_are_named(self, tmp_path):
        state = toy_resnet("basic")
        del state["layer2.0.bn1.running_var"]
        save_file(dict(state), tmp_path / "cut.safetensors")
        with pytest.raises(ValueError, match=r"lacks the array 'layer2\.0\.bn1\.running_var'"):
            read_network(tmp_path / "cut.safetensors", "last")

    def test_pickled_arrays_are_never_opened(self, tmp_path):
        np.savez(tmp_path / "bad.npz", l00_w=np.array([{}], dtype=object))
        with pytest.raises(ValueError, match="allow_pickle"):
            read_network(tmp_path / "bad.npz", "last")


class TestEncoder:
    def test_rows_do_not_depend_on_the_batch(self, tmp_path):
        path = tmp_path / "resnet.safetensors"
        save_file(dict(toy_resnet("basic")), path)
        images = pictures(7)
        one = make_image_encoder(f"cnn:{path}", batch_size=1)
        many = make_image_encoder(f"cnn:{path}", batch_size=5)
        rows = one.encode(images)
        np.testing.assert_allclose(many.encode(images), rows, atol=1e-5)
        np.testing.assert_allclose(many.encode(images[::-1]), rows[::-1], atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
        assert one.key == many.key == one.space
        assert one.encode([]).shape == (0, one.width)

    def test_keys_tell_weights_and_layers_apart(self, tmp_path):
        keys = set()
        for seed in (0, 1):
            path = tmp_path / f"{seed}.safetensors"
            save_file(dict(toy_resnet("basic", seed)), path)
            keys |= {make_image_encoder(f"cnn:{path}{layer}").key for layer in ("", "#early")}
        assert len(keys) == 4

    def test_a_copy_of_the_weights_has_the_same_key(self, tmp_path):
        for name in ("a", "b"):
            save_file(dict(toy_resnet("basic")), tmp_path / f"{name}.safetensors")
        first, second = (CNNEncoder(tmp_path / f"{name}.safetensors") for name in "ab")
        assert first.key == second.key

    def test_unknown_layer(self, tmp_path):
        with pytest.raises(ValueError, match="layer must be one of"):
            make_image_encoder(f"cnn:{tmp_path}/weights.npz#first")


@pytest.mark.real_data
class TestGivenMobileNet:
    """The stored features come from the int8 network, so agreement has a floor of its rounding."""

    @pytest.fixture
    def path(self, real_data):
        return real_data / "mobilenetv2" / "mobilenetv2_float32_from_ptq.npz"

    def test_features_agree_with_the_stored_ones(self, real_data, path):
        told = json.loads((real_data / "mobilenetv2" / "quant.json").read_text())
        folder = real_data / "fashion2k"
        names = json.loads((folder / "mobilenetv2_ids.json").read_text())[::100]
        stored = np.load(folder / "mobilenetv2_int8.npy")[::100].astype(np.float32)
        stored = (stored - told["zero_point"]) * told["scale"]
        with tarfile.open(folder / "images.tar") as tar:
            files = [tar.extractfile(f"images/{name}").read() for name in names]
        images = [Image.open(io.BytesIO(file)).convert("RGB") for file in files]
        rows = make_image_encoder(f"cnn:{path}").encode(images)
        cosines = (rows * stored).sum(1) / np.linalg.norm(stored, axis=1)
        # another resize gives .88 at best (whole image squeezed), other padding .86
        assert cosines.mean() > 0.985
        assert cosines.min() > 0.95

    @pytest.mark.parametrize(("layer", "width"), [("early", 192), ("middle", 576), ("last", 1280)])
    def test_widths(self, path, layer, width):
        network, preprocessing = read_network(path, layer)
        assert network.width == width
        assert preprocessing == TENSORFLOW
