import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
WARM = """
import pandas, pyarrow.parquet, PIL.Image, PIL.JpegImagePlugin, PIL.PngImagePlugin
import multimodal.cleaning, multimodal.engine.ingest, multimodal.engine.records
import multimodal.engine.layout, multimodal.engine.embed_text, multimodal.engine.judge
import multimodal.engine.finish, multimodal.engine.worker, multimodal.corpus.webdataset
import multimodal.methods.neighbour_vote, faiss, numba.np.arraymath
import tests.multimodal.engine.toy_parts, tests.multimodal.engine.toy_steps
"""


@pytest.fixture(scope="session", autouse=True)
def compiled_sources(pytestconfig):
    """Worker processes find compiled sources, also where Python is told to write none."""
    name = "PYTHONPYCACHEPREFIX"
    if not sys.dont_write_bytecode or name in os.environ:
        yield
        return
    os.environ[name] = str(pytestconfig.cache.mkdir("worker-sources"))
    compile_sources(WARM)
    yield
    del os.environ[name]


def compile_sources(imports):
    """Leave what these imports load compiled, where worker processes look for it."""
    if sys.dont_write_bytecode:
        environment = {key: value for key, value in os.environ.items() if "BYTECODE" not in key}
        subprocess.run([sys.executable, "-c", imports], cwd=PROJECT, env=environment, check=True)
