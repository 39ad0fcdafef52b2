import pickle

import networkx as nx
import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from graphnoise.local_clusters import (
    LabelsFromExamples,
    LabelsFromSeed,
    as_adjacency,
    local_cluster,
)
from graphnoise.local_clusters.base import Workspace
from graphnoise.local_clusters.learned_labels import draw_outside, feature_rows
from graphnoise.local_clusters.linear_labels import fit_linear, unit_rows
from graphnoise.local_clusters.query import Budget, Query
from tests.graphnoise.local_clusters.test_searching import planted, same

FORMS = ["sparse", "dense"]
# reads labels and not how strongly they are meant
PUBLISHED = "label_flow_diffusion"
REGULARISATION = LabelsFromExamples([0], [1]).regularisation


def words(n_nodes, *, seed=0, n_inside=20):
    """Counts of 60 words, the first ten more frequent in the cluster; node 7 has none."""
    rng = np.random.default_rng(seed)
    inside = np.arange(n_nodes) < n_inside
    rate = np.where(inside[:, None] & (np.arange(60) < 10), 0.5, 0.08)
    counts = rng.poisson(rate).astype(np.float32)
    counts[7] = 0
    return counts


def graph_with(features, form):
    held = sparse.csr_array(features) if form == "sparse" else features
    adjacency = as_adjacency(planted())
    # as_adjacency itself would choose the form by density
    return type(adjacency)(adjacency.arrays, adjacency.total_volume, features=held)


def oracle(features, inside, outside, *, regularisation=REGULARISATION, scaled=True):
    """scikit-learn, for all nodes."""
    rows = normalize(features) if scaled else features
    nodes = np.concatenate([inside, outside])
    classifier = LogisticRegression(C=1 / regularisation, tol=1e-10, max_iter=5000)
    classifier.fit(rows[nodes], np.arange(len(nodes)) < len(inside))
    return classifier.predict(rows), classifier


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("regularisation", [0.1, 1.0, 10.0])
def test_labels_are_those_of_a_fit_and_prediction_over_the_whole_graph(
    form, scaled, regularisation
):
    features = words(80)
    adjacency = graph_with(features, form)
    inside, outside = [1, 4, 9, 12], [25, 30, 41, 55, 60, 79]
    source = LabelsFromExamples(inside, outside, regularisation=regularisation, unit_rows=scaled)
    expected, classifier = oracle(
        features.astype(float), inside, outside, regularisation=regularisation, scaled=scaled
    )

    model = source.model(adjacency)
    labels, _ = source.labels_for(adjacency, Query(np.array([0])), Workspace(80))

    np.testing.assert_allclose(model.weight, classifier.coef_[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model.intercept, classifier.intercept_[0], rtol=1e-4, atol=1e-4)
    assert labels.function(np.arange(80)).tolist() == expected.astype(int).tolist()
    # shrunk that much, the more frequent side wins everywhere
    assert 0 < expected.sum() < 80 or regularisation == 10


@pytest.mark.parametrize("form", FORMS)
def test_a_cluster_from_examples_equals_one_from_all_predictions(form):
    features = words(80)
    adjacency = graph_with(features, form)
    inside, outside = [1, 4, 9, 12], [25, 30, 41, 55]
    predicted, _ = oracle(features.astype(float), inside, outside)

    source = LabelsFromExamples(inside, outside)

    cluster = local_cluster(adjacency, 3, labels=source, method=PUBLISHED, mass=150.0)
    same(cluster, local_cluster(adjacency, 3, labels=predicted, method=PUBLISHED, mass=150.0))
    assert cluster.labels.tolist() == predicted[cluster.nodes].astype(int).tolist()
    # fitted once for all seeds
    assert source.model(adjacency) is source.model(adjacency)


def test_examples_go_by_the_callers_ids():
    names = [f"n{node}" for node in range(80)]
    graph = nx.relabel_nodes(nx.from_scipy_sparse_array(planted()), dict(enumerate(names)))
    features = words(80)
    named = as_adjacency(graph, features=features)
    plain = as_adjacency(planted(), features=features)

    one = local_cluster(
        named, "n3", labels=LabelsFromExamples(["n1", "n4"], ["n30", "n40"]), mass=150.0
    )
    other = local_cluster(plain, 3, labels=LabelsFromExamples([1, 4], [30, 40]), mass=150.0)

    assert one.nodes.tolist() == [names[node] for node in other.nodes]


def test_estimates_are_close_to_leaving_each_example_out():
    rng = np.random.default_rng(0)
    for share in (0.0, 0.3, 1.0):
        features = np.where(rng.random((80, 1)) < share, words(80), words(80, n_inside=0))
        inside, outside = rng.choice(20, 15, False), 20 + rng.choice(60, 15, False)
        nodes = np.concatenate([inside, outside])
        rows, truth = unit_rows(features[nodes]), np.arange(30) < 15
        model = fit_linear(rows, truth, 1.0)
        right = []
        for left_out in range(30):
            keep = np.arange(30) != left_out
            fitted = fit_linear(rows[keep], truth[keep], 1.0)
            score = rows[left_out] @ fitted.weight + fitted.intercept
            score += np.log(15 / 14) * (1 if truth[left_out] else -1)
            right.append((score > 0) == truth[left_out])

        assert model.right_inside == pytest.approx(np.mean(right[:15]), abs=0.07)
        assert model.right_outside == pytest.approx(np.mean(right[15:]), abs=0.07)


def test_a_warning_where_labels_say_nothing():
    adjacency = graph_with(np.ones((80, 3), np.float32), "dense")
    inside, outside = range(1, 12), range(40, 51)

    useless = local_cluster(adjacency, 3, labels=LabelsFromExamples(inside, outside), mass=150.0)
    useful = local_cluster(
        graph_with(words(80), "dense"), 3, labels=LabelsFromExamples(inside, outside), mass=150.0
    )

    assert any("labels may hurt" in note for note in useless.notes)
    assert not any("labels may hurt" in note for note in useful.notes)


def test_few_and_uneven_examples():
    features = words(80).astype(float)
    for inside, outside in ([[0], [30]], [[0], list(range(20, 75))], [list(range(19)), [50]]):
        model = LabelsFromExamples(inside, outside).model(graph_with(features, "sparse"))
        _, classifier = oracle(features, inside, outside)

        np.testing.assert_allclose(model.weight, classifier.coef_[0], rtol=1e-4, atol=1e-4)
        assert np.isnan(model.right_inside) == (len(inside) == 1)


@pytest.mark.parametrize(
    ("inside", "outside", "message"),
    [
        ([], [1], "positives must name at least one node"),
        ([1], [], "negatives must name at least one node"),
        ([1, 99], [2], "positives must be nodes of the graph .* found no node 99"),
        ([1], [2, 2], "negatives must be distinct"),
        ([1, 2], [2, 3], "must not share a node, found 1 in both"),
    ],
)
def test_wrong_examples(inside, outside, message):
    with pytest.raises(ValueError, match=message):
        local_cluster(graph_with(words(80), "dense"), 3, labels=LabelsFromExamples(inside, outside))


@pytest.mark.parametrize("source", [LabelsFromExamples([0], [30]), LabelsFromSeed()])
def test_learning_needs_features(source):
    with pytest.raises(ValueError, match="the graph has none"):
        local_cluster(planted(), 3, labels=source, mass=100.0)


def test_wrong_settings():
    with pytest.raises(ValueError, match="regularisation must be positive, got 0"):
        LabelsFromExamples([0], [1], regularisation=0)
    with pytest.raises(ValueError, match="regularisation must be positive"):
        LabelsFromSeed(regularisation=-1)
    with pytest.raises(ValueError, match="n_examples must be at least 1, got 0"):
        LabelsFromSeed(n_examples=0)


def test_labels_from_the_seed_follow_the_recipe():
    features = words(80)
    adjacency = graph_with(features, "sparse")
    query, source = Query(np.array([3]), 100.0), LabelsFromSeed(n_examples=10)
    plain = local_cluster(adjacency, 3, mass=100.0)

    inside, outside = source.examples(adjacency, query, Workspace(80))
    cluster = local_cluster(adjacency, 3, labels=source, method=PUBLISHED, mass=100.0)

    assert inside.tolist() == plain.nodes[:10].tolist()
    assert len(set(outside.tolist())) == 10
    assert not set(outside.tolist()) & set(plain.nodes.tolist())
    given, _ = oracle(features.astype(float), inside, outside)
    same(cluster, local_cluster(adjacency, 3, labels=given, method=PUBLISHED, mass=100.0))


def test_labels_from_the_seed_depend_on_the_query_alone():
    adjacency = graph_with(words(80), "sparse")
    one = local_cluster(adjacency, [3, 5], labels=LabelsFromSeed(n_examples=10), mass=100.0)
    local_cluster(adjacency, 9, labels=LabelsFromSeed(n_examples=10), mass=100.0)
    again = local_cluster(adjacency, [3, 5], labels=LabelsFromSeed(n_examples=10), mass=100.0)

    same(one, again)


def test_a_diffusion_that_covers_the_graph_leaves_no_negatives():
    with pytest.raises(ValueError, match="need nodes outside the diffusion, it reached them all"):
        draw_outside(np.random.default_rng(0), 3, np.arange(3), 2)


@pytest.mark.parametrize(
    ("n_nodes", "support", "wanted", "expected"),
    [
        (10_000, [3, 5, 9_999], 50, 50),
        (100, [0, 99], 30, 30),
        (20, [1, 2, 3], 100, 17),
        (5, [0, 1, 2, 4], 2, 1),
    ],
)
def test_draws_outside_are_distinct_and_outside(n_nodes, support, wanted, expected):
    drawn = draw_outside(np.random.default_rng(0), n_nodes, np.array(support), wanted)

    assert len(drawn) == len(set(drawn.tolist())) == expected
    assert not set(drawn.tolist()) & set(support)
    assert drawn.min() >= 0
    assert drawn.max() < n_nodes


def test_draws_are_even():
    support = np.arange(0, 40, 2)
    count = np.zeros(400)
    for seed in range(600):
        count[draw_outside(np.random.default_rng(seed), 400, support, 10)] += 1

    outside = count[~np.isin(np.arange(400), support)]
    assert outside.sum() == 6000
    # binomial with mean 15.8
    assert outside.min() > 1
    assert outside.max() < 37


def test_rows_of_features():
    features = sparse.csr_array(words(80))

    np.testing.assert_array_equal(
        feature_rows(features, np.array([5, 7, 5])).toarray(), features.toarray()[[5, 7, 5]]
    )


def test_unit_rows():
    features = words(80)
    for form in (features, sparse.csr_array(features)):
        made = unit_rows(form)
        made = made.toarray() if sparse.issparse(made) else made
        np.testing.assert_allclose(made, normalize(features.astype(float)), atol=1e-12)


def test_sources_travel():
    source = pickle.loads(pickle.dumps(LabelsFromExamples([1], [30])))

    assert (source.positives, source.negatives) == ([1], [30])


def test_a_budget_that_ends_before_anything_is_spread_leaves_the_seed_as_example():
    graph = graph_with(words(80), "sparse")
    query = Query(np.array([4]), 300.0, None, Budget(max_edges=1))

    inside, outside = LabelsFromSeed(n_examples=5).examples(graph, query, Workspace(80))

    assert inside.tolist() == [4]
    assert len(outside) == 5
    assert 4 not in outside
