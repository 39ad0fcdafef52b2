import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphnoise.annotators.base import ABSTAIN, Usage
from graphnoise.annotators.budget import Budget, BudgetPurse
from graphnoise.annotators.ledger import read_ledger
from tests.graphnoise.annotators.endpoint_cases import PLAIN, endpoint, questions
from tests.graphnoise.annotators.scripted_server import Features, Reply, ScriptedServer

PRICES = """
- models: tiny
  prompt: 1000.0
  completion: 1000.0
  date: 2026-01-01
  source: a test
"""


class WatchedPurse(BudgetPurse):
    """Checks after every step that what is spent and set aside lies below the cap."""

    def __init__(self, budget: Budget) -> None:
        super().__init__(budget)
        self.most = Usage()
        self.watching = threading.Lock()

    def reserve(self, wanted: Usage) -> bool:
        done = super().reserve(wanted)
        with self.watching:
            self.most = max(self.most, self.spent + self.reserved, key=lambda usage: usage.tokens)
        return done


@pytest.mark.parametrize("cap", [1, 7, 20])
def test_calls_never_pass_the_cap_also_with_repairs(cap):
    def answer(body):
        unread = "assistant" not in str(body) and "text 3 " in str(body)
        return Reply("no idea" if unread else "Theory", delay=0.01)

    with ScriptedServer(answer=answer, features=PLAIN) as server, endpoint(server) as annotator:
        purse = BudgetPurse(Budget(calls=cap))
        votes = annotator.annotate(questions(20), purse=purse)
    asked = len(server.bodies)
    assert asked == votes.usage.calls == purse.spent.calls == cap
    assert votes.usage.repairs <= 1
    assert votes.answered.sum() >= cap - 2
    assert {*votes.reason[~votes.answered]} <= {"budget_reached", "no_class_named"}


def test_a_larger_budget_goes_on_and_pays_nothing_again(tmp_path):
    cache = tmp_path / "answers.sqlite"
    with ScriptedServer(features=PLAIN) as server:
        with endpoint(server, cache) as annotator:
            first = annotator.annotate(questions(10), purse=BudgetPurse(Budget(calls=4)))
        with endpoint(server, cache) as annotator:
            second = annotator.annotate(questions(10), purse=BudgetPurse(Budget(calls=10)))
    assert first.answered.sum() == 4
    # in the order of the questions, whatever the concurrency
    assert first.answered[:4].all()
    assert second.answered.all()
    assert second.usage.cached == 4
    assert len(server.bodies) == 10


@pytest.mark.parametrize("concurrency", [1, 8])
def test_tokens_and_money_never_pass_the_cap(concurrency, tmp_path):
    prices = tmp_path / "prices.yaml"
    prices.write_text(PRICES)
    with (
        ScriptedServer(answer=lambda body: Reply("Theory", delay=0.01), features=PLAIN) as server,
        endpoint(server, concurrency=concurrency, prices=prices, max_tokens=200) as annotator,
    ):
        # a server that counts 100 + 5 tokens, where more than 100 + 200 are set aside
        probe = annotator.annotate(questions(1)).usage
        budget = Budget(tokens=2_000, money=0.9)
        purse = WatchedPurse(budget)
        votes = annotator.annotate(questions(30), purse=purse)
    # three probes that were answered and the question
    assert probe.money == pytest.approx(4 * 0.105)
    assert purse.most.tokens <= 2_000
    assert purse.most.money <= 0.9 + 1e-9
    assert votes.usage.tokens <= 2_000
    # what comes back from one answer pays for the next: the cap is used, not only kept
    assert 0.9 - 0.35 <= votes.usage.money <= 0.9
    assert purse.outstanding == 0
    assert set(votes.reason[~votes.answered]) == {"budget_reached"}


@settings(max_examples=8, deadline=None)
@given(
    calls=st.integers(0, 12),
    concurrency=st.integers(1, 6),
    samples=st.integers(1, 2),
    unread=st.sets(st.integers(0, 7), max_size=4),
)
def test_any_budget_is_kept_and_told(calls, concurrency, samples, unread):
    def answer(body):
        text = str(body["messages"][1]["content"])
        lost = any(f"text {i} " in text for i in unread)
        return Reply("what?" if lost else "Theory")

    features = Features("none", n=True)
    with (
        ScriptedServer(answer=answer, features=features) as server,
        endpoint(server, concurrency=concurrency, samples=samples, temperature=0.5) as annotator,
    ):
        purse = BudgetPurse(Budget(calls=calls))
        votes = annotator.annotate(questions(8), purse=purse)
        ledger = read_ledger(annotator._opened().path)
    assert len(server.bodies) == purse.spent.calls <= calls
    assert purse.spent == votes.usage == ledger.total.usage
    assert purse.outstanding == 0
    wanted = 8 + len(unread)
    assert purse.spent.calls == min(calls, wanted) or purse.spent.calls >= calls - 1
    answered = [i for i in range(8) if votes.answered[i]]
    assert not unread & set(answered)


def test_an_unknown_price_meets_no_cap_in_dollars(tmp_path):
    with ScriptedServer(features=PLAIN) as server, endpoint(server) as annotator:
        annotator.price = None
        with pytest.raises(ValueError, match="price of this model is unknown"):
            annotator.annotate(questions(1), purse=BudgetPurse(Budget(money=1.0)))
        assert not server.times
        votes = annotator.annotate(questions(1), purse=BudgetPurse(Budget(calls=1)))
    assert votes.usage.money is None
    assert votes.records[0]["money"] is None


def test_a_plan_sends_nothing_and_counts_what_the_run_counts(tmp_path):
    cache = tmp_path / "answers.sqlite"
    with (
        ScriptedServer(features=PLAIN) as server,
        endpoint(server, cache, samples=2, temperature=0.5) as annotator,
    ):
        plan = annotator.estimate(questions(6))
        assert not server.times
        assert not cache.exists()
        assert "text 0 of many" in plan.sample_prompt
        assert "probe" in plan.exact
        votes = annotator.annotate(questions(4))
        # this server gives one sample per request; that is known now
        more = annotator.estimate(questions(6)).usage
        sent = len(server.bodies)
        rest = annotator.annotate(questions(6)).usage
    assert plan.usage.calls == 6
    assert votes.usage.calls == 4
    assert (more.calls, more.cached, more.sent) == (rest.calls, rest.cached, rest.sent)
    assert more.samples == len(server.bodies) - sent == 4
    assert more.money == 0


def test_refused_questions_are_abstentions_of_their_own():
    with ScriptedServer(features=PLAIN) as server, endpoint(server) as annotator:
        votes = annotator.annotate(questions(3), purse=BudgetPurse(Budget(calls=0)))
    assert not server.bodies
    assert votes.labels.tolist() == [ABSTAIN] * 3
    assert list(votes.reason) == ["budget_reached"] * 3
    assert votes.usage.calls == 0
