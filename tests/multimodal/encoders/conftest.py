from importlib.util import find_spec

import pytest
import torch

# torchvision's Python checks at import that its compiled operators are there; a wheel built for
# another torch lacks them, and none of ours calls them
OPERATORS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


@pytest.fixture(scope="session")
def torchvision():
    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    library = None
    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name, signature in OPERATORS.items():
            library.define(name + signature)
    import torchvision

    yield torchvision
    del library
