import numpy as np
import pytest

from multimodal import matching
from multimodal.matching import (
    MatchingSettings,
    label_entries,
    match_class,
    match_classes,
    text_scores,
)
from multimodal.rows import Rows
from multimodal.stable_order import stable_keys
from tests.multimodal.text_oracles import rerank_by_sets, unit_rows

WHOLE = MatchingSettings(candidates=None)
K, E = 5, 10


class Crawl:
    """60 texts near the texts of 5 classes; class 3 has one sample, class 4 none."""

    def __init__(self, seed=0, n=60):
        generator = np.random.default_rng(seed)
        self.class_texts = unit_rows(generator, K, E)
        self.given = generator.integers(-1, 3, n)
        self.given[n // 2] = 3
        self.rows = unit_rows(generator, n, E, around=self.class_texts[self.given], spread=0.4)
        self.present = generator.random(n) < 0.8
        self.present[n // 2] = True
        self.rows[~self.present] = 0
        self.keys = stable_keys(f"sample {i}" for i in range(n))

    def scores(self, **options):
        return text_scores(self.rows, self.class_texts, self.given, present=self.present, **options)

    def distance(self, settings=WHOLE, **options):
        own = self.scores().own_cosine
        return match_classes(
            self.rows, self.given, self.class_texts, own_cosine=own, keys=self.keys,
            settings=settings, **options,
        )  # fmt: skip


@pytest.fixture
def crawl():
    return Crawl()


def by_sets(query, gallery, keys, **settings):
    """The oracle, on rows in the order of their keys."""
    order = np.argsort(keys)
    distance = np.empty(len(gallery))
    distance[order] = rerank_by_sets(np.vstack([query[None], gallery[order]]), **settings)
    return distance


@pytest.mark.parametrize(("k1", "k2", "trade_off"), [(20, 6, 0.3), (4, 2, 0.0), (5, 1, 0.5)])
@pytest.mark.parametrize("column_max", [False, True])
@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_match_class_matches_sets(k1, k2, trade_off, column_max, kind):
    generator = np.random.default_rng(1)
    query = unit_rows(generator, 1, E)[0]
    gallery = unit_rows(generator, 50, E, around=query, spread=0.5)
    chosen = MatchingSettings(
        matching=kind, k1=k1, k2=k2, trade_off=trade_off, candidates=None,
        distance_scale="column_max" if column_max else "fixed",
    )  # fmt: skip

    found = match_class(query, gallery, settings=chosen)

    want = rerank_by_sets(np.vstack([query, gallery]), k1, k2, trade_off, column_max)
    np.testing.assert_allclose(found, want, atol=2e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("settings", [WHOLE, MatchingSettings(), MatchingSettings.paper()])
def test_tiny_classes(n, settings):
    generator = np.random.default_rng(1)
    query, gallery = unit_rows(generator, 1, E)[0], unit_rows(generator, n, E)

    found = match_class(query, gallery, settings=settings)

    column_max = settings.distance_scale == "column_max"
    want = rerank_by_sets(np.vstack([query, gallery]), column_max=column_max) if n else []
    np.testing.assert_allclose(found, want, atol=2e-6)


@pytest.mark.parametrize("batch", [1, 7, 2**15])
def test_every_class_is_matched_alone(crawl, batch, monkeypatch):
    monkeypatch.setattr(matching, "BATCH_ROWS", batch)

    distance = crawl.distance()

    for c in range(K):
        members = np.flatnonzero((crawl.given == c) & crawl.present)
        if len(members):
            want = by_sets(crawl.class_texts[c], crawl.rows[members], crawl.keys[members])
            np.testing.assert_allclose(distance[members], want, atol=2e-6)
    assert np.array_equal(np.isfinite(distance), crawl.present & (crawl.given >= 0))


def test_classes_can_be_shared_out(crawl):
    whole = crawl.distance()

    parts = [crawl.distance(classes=part) for part in (range(2), range(2, 2), range(2, K))]

    joined = np.where(np.isnan(parts[0]), parts[2], parts[0])
    np.testing.assert_allclose(joined, whole, atol=1e-6)
    assert np.isnan(parts[1]).all()
    assert not (np.isfinite(parts[0]) & np.isfinite(parts[2])).any()


def test_far_texts_follow_by_cosine(crawl):
    few = MatchingSettings(k1=4, k2=2, candidates=6)
    own = crawl.scores().own_cosine

    distance = crawl.distance(few)

    for c in range(3):
        members = np.flatnonzero((crawl.given == c) & crawl.present)
        members = members[np.argsort(-own[members])]
        near, far = members[:6], members[6:]
        want = by_sets(crawl.class_texts[c], crawl.rows[near], crawl.keys[near], k1=4, k2=2)
        np.testing.assert_allclose(distance[near], want, atol=2e-6)
        assert distance[near].max() <= distance[far].min()
        assert (np.diff(distance[far]) >= 0).all()


def test_cosine_matching(crawl):
    distance = crawl.distance(MatchingSettings(matching="cosine"))

    own = np.einsum("ne,ne->n", crawl.rows, crawl.class_texts[crawl.given])
    want = np.where(crawl.present & (crawl.given >= 0), (1 - own) / 2, np.nan)
    np.testing.assert_allclose(distance, want, atol=1e-6)


def test_renumbering_renumbers_the_result():
    first, second = Crawl(), Crawl()
    order = np.random.default_rng(5).permutation(len(first.given))
    # more copies of the class's own text than lists are long: who is listed decides distances
    first.rows[np.flatnonzero((first.given == 1) & first.present)[:-2]] = first.class_texts[1]
    for name in ("given", "rows", "present", "keys"):
        setattr(second, name, getattr(first, name)[order])

    for settings in (MatchingSettings(k1=4, k2=2), MatchingSettings.paper()):
        distance = first.distance(settings)
        np.testing.assert_array_equal(second.distance(settings), distance[order])
    copies = (first.rows == first.class_texts[1]).all(axis=1)
    assert len(set(first.distance(MatchingSettings(k1=4, k2=2))[copies].tolist())) > 1


@pytest.mark.parametrize("fill", [np.nan, 3.0])
def test_missing_texts_never_show(crawl, fill):
    want, scores = crawl.distance(), crawl.scores()
    crawl.rows[~crawl.present] = fill

    np.testing.assert_array_equal(crawl.distance(), want)
    found = crawl.scores()
    for name in ("own_cosine", "other_class", "other_cosine"):
        np.testing.assert_array_equal(getattr(found, name), getattr(scores, name))


def test_a_class_of_missing_texts_has_no_distance(crawl):
    crawl.present[crawl.given == 0] = False

    distance = crawl.distance()

    assert np.isnan(distance[crawl.given == 0]).all()
    assert np.isfinite(distance[(crawl.given == 1) & crawl.present]).all()


def test_a_class_without_text(crawl):
    crawl.class_texts[1] = 0

    scores, distance = crawl.scores(), crawl.distance()

    assert np.isnan(scores.own_cosine[crawl.given == 1]).all()
    assert np.isnan(distance[crawl.given == 1]).all()
    assert not (scores.other_class == 1).any()
    assert (scores.other_class[crawl.present] >= 0).all()


def test_scores_match_all_cosines(crawl):
    scores = crawl.scores()

    cosines = crawl.rows.astype(float) @ crawl.class_texts.T
    for i in range(len(cosines)):
        if not crawl.present[i]:
            assert np.isnan([scores.own_cosine[i], scores.other_cosine[i]]).all()
            assert scores.other_class[i] == -1
            continue
        if crawl.given[i] >= 0:
            assert scores.own_cosine[i] == pytest.approx(cosines[i, crawl.given[i]], abs=1e-6)
            cosines[i, crawl.given[i]] = -2
        else:
            assert np.isnan(scores.own_cosine[i])
        assert scores.other_class[i] == cosines[i].argmax()
        assert scores.other_cosine[i] == pytest.approx(cosines[i].max(), abs=1e-6)


def test_blocks_and_pieces_do_not_show(crawl, monkeypatch):
    want = crawl.scores()
    monkeypatch.setattr(matching, "BLOCK_ROWS", 7)
    crawl.rows = Rows(np.split(crawl.rows, [4, 4, 33]))

    parts = [crawl.scores(start=a, stop=b) for a, b in [(0, 13), (13, 13), (13, 99)]]

    for name in ("own_cosine", "other_class", "other_cosine"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(want, name))


def test_others_can_be_left_out(crawl):
    scores = crawl.scores(others=False)

    assert (scores.other_class == -1).all()
    np.testing.assert_array_equal(scores.own_cosine, crawl.scores().own_cosine)


def test_only_one_class():
    rows = np.eye(2, dtype=np.float32)

    scores = text_scores(rows, rows[:1], np.array([0, -1]), present=np.ones(2, bool))

    assert scores.other_class.tolist() == [-1, 0]


def test_several_labels_per_sample(crawl):
    offsets, classes = np.array([0, 2, 2, 3, 5]), np.array([0, 2, 1, 0, 1])
    crawl.rows, crawl.present, crawl.keys = crawl.rows[:4], np.ones(4, bool), crawl.keys[:4]
    crawl.rows = unit_rows(np.random.default_rng(9), 4, E)
    crawl.given = (offsets, classes)

    scores, distance = crawl.scores(), crawl.distance()
    parts = [crawl.scores(start=a, stop=b).own_cosine for a, b in [(0, 1), (1, 3), (3, 4)]]

    samples = np.array([0, 0, 2, 3, 3])
    assert label_entries(crawl.given)[0].tolist() == samples.tolist()
    cosines = crawl.rows @ crawl.class_texts.T
    np.testing.assert_allclose(scores.own_cosine, cosines[samples, classes], atol=1e-6)
    assert [len(part) for part in parts] == [2, 1, 2]
    np.testing.assert_array_equal(np.concatenate(parts), scores.own_cosine)
    cosines[samples, classes] = -2
    assert scores.other_class.tolist() == cosines.argmax(axis=1).tolist()
    for c in range(3):
        entries = np.flatnonzero(classes == c)
        want = by_sets(
            crawl.class_texts[c], crawl.rows[samples[entries]], crawl.keys[samples[entries]]
        )
        np.testing.assert_allclose(distance[entries], want, atol=2e-6)


def test_a_sample_of_all_classes_has_no_other():
    rows = np.eye(3, dtype=np.float32)

    scores = text_scores(rows[:1], rows, (np.array([0, 3]), np.arange(3)), present=np.ones(1, bool))

    assert scores.other_class.tolist() == [-1]
    assert np.isnan(scores.other_cosine).all()


def test_paper_rescales_by_the_farthest():
    # one text on the far side stretches the paper's scale and leaves the fixed one alone
    generator = np.random.default_rng(2)
    query = unit_rows(generator, 1, E)[0]
    gallery = unit_rows(generator, 30, E, around=query, spread=0.2)
    with_outlier = np.vstack([gallery, -query[None]])
    plain_only = {"trade_off": 1.0, "candidates": None}
    paper = MatchingSettings(**plain_only, distance_scale="column_max")
    ours = MatchingSettings(**plain_only)

    moved = [
        np.abs(
            match_class(query, with_outlier, settings=chosen)[:30]
            - match_class(query, gallery, settings=chosen)
        ).max()
        for chosen in (paper, ours)
    ]

    assert moved[0] > 0.2
    assert moved[1] < 1e-6
    assert MatchingSettings.paper().candidates is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"matching": "x"}, "matching must be one of"),
        ({"distance_scale": "x"}, "distance_scale must be one of"),
        ({"k1": 0}, "k1 must be at least 1"),
        ({"k2": 0}, "k2 must be at least 1"),
        ({"trade_off": 2}, "trade_off must be in 0 .. 1"),
        ({"candidates": 0}, "candidates must be at least 1"),
        ({"distance_scale": "column_max"}, "candidates must be None"),
    ],
)
def test_rejects_settings(change, message):
    with pytest.raises(ValueError, match=message):
        MatchingSettings(**change)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("class_texts", np.ones((K, 3)), r"class_texts must be \[K, 10\], got \[5, 3\]"),
        ("present", np.ones(3, bool), r"present must be bool \[60\]"),
        ("given", np.zeros(3, int), "labels must be of 60 samples, got 3"),
        ("given", np.full(60, 5), "labels must lie in -1 .. 4"),
    ],
)
def test_rejects_shapes(crawl, name, value, message):
    setattr(crawl, name, value)

    with pytest.raises(ValueError, match=message):
        crawl.scores()


def test_match_classes_rejects_shapes(crawl):
    arguments = {"own_cosine": np.zeros(60, np.float32), "keys": crawl.keys}
    for name, message in {"own_cosine": "own_cosine must be", "keys": "keys must be"}.items():
        with pytest.raises(ValueError, match=message):
            match_classes(
                crawl.rows, crawl.given, crawl.class_texts, **arguments | {name: np.zeros(3)}
            )
