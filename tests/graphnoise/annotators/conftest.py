import pytest

from tests.graphnoise.annotators.tiny_model import build_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """Folder of a chat model with random weights."""
    return build_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def tiny_base_model(tmp_path_factory):
    """Folder of one without a chat format."""
    return build_tiny_model(tmp_path_factory.mktemp("model") / "base", chat=False, seed=1)
