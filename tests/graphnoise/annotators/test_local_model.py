import json

import numpy as np
import pytest
import torch

from graphnoise.annotators.base import Exemplar, Questions
from graphnoise.annotators.budget import Budget, BudgetPurse
from graphnoise.annotators.choosing import make_annotator
from graphnoise.annotators.class_logits import batches_of, load_causal_model
from graphnoise.annotators.local_model import LocalModelAnnotator, part_of, turned
from graphnoise.annotators.options import AnnotatorOptions
from graphnoise.annotators.prompting import make_messages
from labelnoise.class_list import ClassList

CLASSES = ClassList(("Neural Networks", "Theory", "Rule Learning"), ("", "bounds", ""))
TEXTS = (
    "A genetic algorithm evolves candidates.",
    "Bounds on the sample complexity of learning. " * 12,
    "   ",
    "Rewards.",
    "Gradient descent for neural networks\nwith an abstract",
)
ANSWERED = [0, 1, 3, 4]


def questions(texts=TEXTS, classes=CLASSES, **more):
    return Questions(np.arange(len(texts)), tuple(texts), classes, **more)


def next_log_probabilities(model, ids):
    """One unpadded pass in double precision: log-probabilities of the next token."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
    return torch.log_softmax(logits.double(), dim=-1).numpy()


def prompt_ids(folder, messages):
    loaded = load_causal_model(str(folder), "cpu")
    return loaded.model.double(), loaded.tokenizer, loaded.token_ids(messages)


def by_hand(folder, row, reading, classes=CLASSES, asked=None):
    """The softmax over the classes, one token at a time."""
    template = {"letters": "letters", "names": "zero_shot"}[reading]
    messages = make_messages(template, asked or questions(classes=classes), row)
    model, tokenizer, ids = prompt_ids(folder, messages)
    space = "" if tokenizer.chat_template else " "
    scores = []
    for k, name in enumerate(classes.names):
        word = "ABC"[k] if reading == "letters" else name
        answer = tokenizer.encode(space + word, add_special_tokens=False)
        if reading == "names" and tokenizer.chat_template:
            answer = [*answer, tokenizer.eos_token_id]
        total = 0.0
        for place, token in enumerate(answer):
            total += next_log_probabilities(model, ids + answer[:place])[token]
        scores.append(total if tokenizer.chat_template else total / len(answer))
    return np.exp(scores) / np.exp(scores).sum(), 1 - np.exp(scores).sum()


@pytest.mark.parametrize("reading", ["letters", "names"])
@pytest.mark.parametrize("kind", ["tiny_model", "tiny_base_model"])
def test_equals_one_text_and_one_token_at_a_time(request, kind, reading):
    folder = request.getfixturevalue(kind)
    votes = LocalModelAnnotator(folder, reading=reading, device="cpu").annotate(questions())
    for row in ANSWERED:
        expected, outside = by_hand(folder, row, reading)
        np.testing.assert_allclose(votes.probabilities[row], expected, atol=2e-5)
        assert votes.labels[row] == expected.argmax()
        if reading == "letters":
            assert votes.records[row]["outside"] == pytest.approx(outside, abs=1e-4)
    assert votes.reason.tolist() == ["", "", "no_text", "", ""]
    assert votes.rung[0] == votes.source[0] == "class_probabilities"


@pytest.mark.parametrize("reading", ["letters", "names"])
def test_neither_batches_nor_order_matter(tiny_model, reading):
    straight = LocalModelAnnotator(tiny_model, reading=reading, batch_size=100, device="cpu")
    expected = straight.annotate(questions()).probabilities
    for size in (1, 2, 3):
        made = LocalModelAnnotator(tiny_model, reading=reading, batch_size=size, device="cpu")
        found = made.annotate(questions(TEXTS[::-1])).probabilities
        np.testing.assert_allclose(found, expected[::-1], atol=1e-5)


def test_with_all_orders_the_place_of_a_class_does_not_matter(tiny_model):
    n_classes = len(CLASSES)
    whole = LocalModelAnnotator(tiny_model, orders=n_classes, device="cpu")
    expected = whole.annotate(questions()).probabilities
    order = [1, 2, 0]
    found = whole.annotate(questions(classes=part_of(CLASSES, order))).probabilities
    np.testing.assert_allclose(found, expected[:, order], atol=1e-5)
    # with one order it does, in a model with random weights
    single = LocalModelAnnotator(tiny_model, device="cpu")
    once = single.annotate(questions()).probabilities
    other = single.annotate(questions(classes=part_of(CLASSES, order))).probabilities
    assert np.abs(other - once[:, order]).max() > 0.01


def test_tokens_are_counted_and_capped(tiny_model):
    annotator = make_annotator(f"local:{tiny_model}", AnnotatorOptions(device="cpu", orders=2))
    told = annotator.estimate(questions())
    votes = annotator.annotate(questions())
    assert told.usage == votes.usage
    assert votes.usage.calls == 4
    assert "A. Neural Networks" in told.sample_prompt
    lengths = [
        sum(
            len(prompt_ids(tiny_model, make_messages(
                "letters", questions(classes=part_of(CLASSES, turned(3, turn, 2))), row
            ))[2])
            for turn in range(2)
        )
        for row in ANSWERED
    ]  # fmt: skip
    assert votes.usage.prompt_tokens == sum(lengths)
    purse = BudgetPurse(Budget(tokens=sum(lengths[:2]) + 5))
    some = annotator.annotate(questions(), purse=purse)
    assert some.reason.tolist() == ["", "", "no_text", "budget_reached", "budget_reached"]
    np.testing.assert_allclose(some.probabilities[:2], votes.probabilities[:2], atol=1e-5)
    assert purse.spent.tokens == sum(lengths[:2])


def test_a_text_that_is_too_long_is_shortened(tiny_model):
    votes = LocalModelAnnotator(tiny_model, device="cpu").annotate(
        questions(["learning theory " * 4000])
    )
    assert votes.labels[0] >= 0
    assert votes.usage.prompt_tokens < 2048


def test_exemplars_keep_their_class_in_every_order(tiny_model, tmp_path):
    asked = questions(exemplars=(Exemplar("old cases", 2),))
    annotator = LocalModelAnnotator(tiny_model, orders=3, device="cpu")
    plain = annotator.annotate(questions()).probabilities
    shown = annotator.annotate(asked).probabilities
    assert np.abs(shown - plain).max() > 1e-3
    single, _ = by_hand(tiny_model, 0, "letters", asked=asked)
    one = LocalModelAnnotator(tiny_model, device="cpu").annotate(asked).probabilities
    np.testing.assert_allclose(one[0], single, atol=2e-5)
    # the same from a file
    file = tmp_path / "examples.csv"
    file.write_text("text,label\nold cases,rule learning\n")
    options = AnnotatorOptions(few_shot=file, device="cpu")
    read = make_annotator(f"local:{tiny_model}", options).annotate(questions()).probabilities
    np.testing.assert_array_equal(read, one)


def test_many_classes_are_read_by_their_names(tiny_model):
    classes = ClassList(tuple(f"class {k}" for k in range(30)))
    annotator = LocalModelAnnotator(tiny_model, device="cpu")
    votes = annotator.annotate(questions(TEXTS[:2], classes))
    assert votes.records[0]["reading"] == "names"
    assert votes.probabilities.shape == (2, 30)
    letters = LocalModelAnnotator(tiny_model, reading="letters", device="cpu")
    with pytest.raises(ValueError, match="at most 26 classes, got 30"):
        letters.annotate(questions(TEXTS[:2], classes))


def test_settings_and_records_are_json_without_the_place_of_the_model(tiny_model):
    annotator = LocalModelAnnotator(tiny_model, device="cpu")
    assert str(tiny_model) not in json.dumps(annotator.settings())
    votes = annotator.annotate(questions())
    json.dumps(votes.records)
    assert annotator.settings()["weights"] == votes.records[0]["weights"]
    assert votes.records[2] == {}


def test_errors(tmp_path, tiny_model):
    with pytest.raises(ValueError, match="reading must be one of"):
        LocalModelAnnotator(tiny_model, reading="words")
    with pytest.raises(ValueError, match="orders must be 1, or more of letters, got 2"):
        LocalModelAnnotator(tiny_model, reading="names", orders=2)
    with pytest.raises(ValueError, match="template must be one of"):
        LocalModelAnnotator(tiny_model, template="nothing")


@pytest.mark.parametrize(("lengths", "size"), [([], 3), ([1], 3), ([3, 1, 2, 9, 9], 2)])
def test_batches_hold_every_row_once(lengths, size):
    found = batches_of(lengths, size)
    assert sorted(row for rows in found for row in rows) == list(range(len(lengths)))
    assert all(0 < len(rows) <= size for rows in found)


@pytest.mark.parametrize("name", ["/nowhere/model", "./nowhere", "nobody/nothing"])
def test_no_such_model_is_one_line(name):
    with pytest.raises(OSError, match="no causal language model") as refused:
        load_causal_model(name)
    assert len(str(refused.value).splitlines()) == 1
