import numpy as np

from multimodal.rows import forget_pages


def test_pages_given_back_lose_nothing(tmp_path):
    path = tmp_path / "rows.npy"
    written = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(5000, 7))
    expected = np.random.default_rng(0).random((5000, 7), np.float32)
    for start in range(0, 5000, 900):
        written[start : start + 900] = expected[start : start + 900]
        forget_pages(written)
    np.testing.assert_array_equal(written, expected)
    read = np.load(path, mmap_mode="r")
    forget_pages(read)
    np.testing.assert_array_equal(read, expected)
    # what is private to this process would be lost, so it is kept
    private = np.load(path, mmap_mode="c")
    private[0] = 9
    forget_pages(private)
    assert (private[0] == 9).all()
    forget_pages(expected)
