from hashlib import blake2b

import numpy as np

from multimodal.stable_order import shuffled_keys, stable_keys


def test_keys_are_the_hash_of_the_text():
    digest = blake2b("münchen/1.jpg".encode(), digest_size=8).digest()

    assert stable_keys(["münchen/1.jpg"]).tolist() == [int.from_bytes(digest, "little")]
    assert stable_keys([]).tolist() == []


def test_broken_unicode_has_a_key():
    assert len(set(stable_keys(["\ud800", "a", "b"]).tolist())) == 3


def test_array_and_list_agree():
    names = ["a", "bb", ""]

    assert np.array_equal(stable_keys(np.array(names)), stable_keys(names))


def test_shuffling_is_one_to_one_and_depends_on_the_seed():
    keys = stable_keys(range(1000))

    orders = [np.argsort(shuffled_keys(keys, seed)).tolist() for seed in (0, 1, 2**70)]

    assert all(len(set(shuffled_keys(keys, seed).tolist())) == 1000 for seed in (0, 1))
    assert orders[0] != orders[1] != orders[2]


def test_shuffled_bits_are_fair():
    # neighbouring numbers must come out unrelated: each bit is set in half of them
    bits = np.unpackbits(shuffled_keys(np.arange(4096, dtype=np.uint64), 3).view(np.uint8))

    share = bits.reshape(4096, 64).mean(axis=0)
    assert np.abs(share - 0.5).max() < 0.05
