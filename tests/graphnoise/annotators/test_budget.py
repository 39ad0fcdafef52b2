"""Hard caps: nothing passes them, whatever the order of reserving and settling."""

import asyncio
import threading
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphnoise.annotators.base import Purse, Usage
from graphnoise.annotators.budget import Budget, BudgetPurse

ONE = Usage(calls=1, sent=1, prompt_tokens=10, completion_tokens=5, money=0.1)
CACHED = Usage(calls=1, cached=1)


class Clock:
    """Wall clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# as text


@pytest.mark.parametrize(
    ("texts", "budget"),
    [
        ("200", Budget(calls=200)),
        (["200 calls"], Budget(calls=200)),
        (["2k"], Budget(calls=2000)),
        (["1 call", "$0.50"], Budget(calls=1, money=0.5)),
        ("$ .5", Budget(money=0.5)),
        ("0.5 USD", Budget(money=0.5)),
        ("50 cents", Budget(money=0.5)),
        ("0.5$", Budget(money=0.5)),
        (["50k tokens"], Budget(tokens=50_000)),
        ("1.1M tokens", Budget(tokens=1_100_000)),
        ("30min", Budget(seconds=1800)),
        ("90 s", Budget(seconds=90)),
        ("1.5h", Budget(seconds=5400)),
        ("200, 50k tokens,$0.5, 2 hours", Budget(200, 50_000, 0.5, 7200)),
        ([], Budget()),
        ("", Budget()),
    ],
)
def test_reading(texts, budget):
    assert Budget.parse(texts) == budget


@pytest.mark.parametrize(
    "text", ["abc", "5m", "-3", "$", "1e5", "5 apples", "k", "$5 calls", "1.2.3"]
)
def test_what_is_no_budget(text):
    with pytest.raises(ValueError, match=r"a budget is written like 200, .*got '"):
        Budget.parse(text)


def test_other_mistakes():
    with pytest.raises(ValueError, match=r"one cap on calls, got '000' after 1 .write thousands"):
        Budget.parse("1,000")
    with pytest.raises(ValueError, match=r"one cap on money, got '\$2' after 1"):
        Budget.parse(["$1", "$2"])
    with pytest.raises(ValueError, match=r"a cap on calls is a whole number, got '1\.5'"):
        Budget.parse("1.5")
    with pytest.raises(ValueError, match="calls must be at least 0 and finite, got -1"):
        Budget(calls=-1)
    with pytest.raises(ValueError, match="money must be at least 0 and finite, got nan"):
        Budget(money=float("nan"))


@given(
    st.none() | st.integers(0, 10**9),
    st.none() | st.integers(0, 10**12),
    st.none() | st.integers(0, 10**9).map(lambda cents: cents / 100),
    st.none() | st.integers(0, 10**6).map(lambda tenths: tenths / 10),
)
def test_what_it_says_it_reads(calls, tokens, money, seconds):
    budget = Budget(calls, tokens, money, seconds)
    assert Budget.parse(budget.describe()) == budget


# the purse


def test_a_purse_by_hand():
    purse: Purse = BudgetPurse(Budget(calls=2, money=0.3))
    assert purse.reserve(ONE)
    assert purse.reserve(ONE)
    assert not purse.reserve(ONE)
    purse.settle(ONE, replace(ONE, completion_tokens=1, money=0.05))
    assert not purse.reserve(ONE), "a call is spent"
    purse.settle(ONE, Usage())
    assert purse.reserve(ONE)
    purse.settle(ONE, ONE)
    assert purse.spent == Usage(calls=2, sent=2, prompt_tokens=20, completion_tokens=6, money=0.15)


@pytest.mark.parametrize(
    ("budget", "times", "cap"),
    [
        (Budget(), 50, ""),
        (Budget(calls=3), 3, "calls"),
        (Budget(tokens=44), 2, "tokens"),
        (Budget(tokens=45), 3, "tokens"),
        (Budget(money=0.3), 3, "money"),  # 0.1 + 0.1 + 0.1 > 0.3 in floats
        (Budget(money=0.29), 2, "money"),
        (Budget(calls=0), 0, "calls"),
    ],
)
def test_each_cap(budget, times, cap):
    purse = BudgetPurse(budget)
    assert [purse.reserve(ONE) for _ in range(50)] == [i < times for i in range(50)]
    assert purse.reached == cap
    assert purse.outstanding == times
    for _ in range(times):
        purse.settle(ONE, ONE)
    assert purse.reserved == Usage()
    assert not budget.calls or purse.spent.calls <= budget.calls
    assert not budget.money or (purse.spent.money or 0) <= budget.money


def test_cached_answers_cost_one_call_and_pass_every_other_cap():
    clock = Clock()
    purse = BudgetPurse(Budget(calls=2, tokens=0, money=0.0, seconds=5), clock=clock)
    clock.now += 100
    assert not purse.reserve(ONE)
    assert purse.reserve(CACHED)
    purse.settle(CACHED, CACHED)
    assert purse.reserve(CACHED)
    assert not purse.reserve(CACHED)
    assert purse.reached == "calls"


def test_time_is_the_wall_clock_of_the_run():
    clock = Clock()
    purse = BudgetPurse(Budget(seconds=60), elapsed=10, clock=clock)
    assert purse.elapsed == 10
    assert purse.reserve(replace(ONE, seconds=50))
    assert purse.reserve(replace(ONE, seconds=50)), "two at once take no longer"
    clock.now += 1
    assert not purse.reserve(replace(ONE, seconds=50)), "it could end too late"
    assert purse.reserve(ONE)
    clock.now += 50
    assert not purse.reserve(ONE)
    assert purse.reached == "seconds"


def test_a_resumed_run_has_spent_before():
    purse = BudgetPurse(Budget(calls=3, money=1.0), already=Usage(calls=2, money=0.95))
    assert not purse.reserve(ONE)
    assert purse.reached == "money"
    assert purse.reserve(replace(ONE, money=0.05))
    assert purse.spent == Usage(calls=2, money=0.95)


def test_worth_waiting_for():
    purse = BudgetPurse(Budget(tokens=20))
    assert purse.reserve(ONE)
    assert not purse.reserve(ONE)
    assert purse.could_fit(ONE)
    purse.settle(ONE, replace(ONE, completion_tokens=0))
    assert not purse.could_fit(ONE)


def test_more_than_reserved_is_counted_and_stops_the_run():
    purse = BudgetPurse(Budget(tokens=20))
    assert purse.reserve(ONE)
    purse.settle(ONE, replace(ONE, completion_tokens=500))
    assert purse.spent.tokens == 510
    assert not purse.reserve(replace(ONE, prompt_tokens=1, completion_tokens=0))
    assert purse.reserve(CACHED), "what costs no tokens is not refused for them"


def test_an_unknown_price_cannot_keep_a_cap_in_dollars():
    unknown = replace(ONE, money=None)
    purse = BudgetPurse(Budget(money=1.0))
    for ask in (purse.reserve, purse.could_fit):
        with pytest.raises(ValueError, match=r"a budget of \$1 cannot be kept: the price of"):
            ask(unknown)
    with pytest.raises(ValueError, match=r"a budget of \$1 cannot be kept"):
        BudgetPurse(Budget(money=1.0), already=unknown)
    # reserved at a known price, answered by a model without one: the reservation counts
    assert purse.reserve(ONE)
    purse.settle(ONE, unknown)
    assert purse.spent.money == 0.1


def test_without_a_cap_in_dollars_unknown_stays_unknown():
    purse = BudgetPurse(Budget(calls=5))
    unknown = replace(ONE, money=None)
    assert purse.reserve(unknown)
    purse.settle(unknown, unknown)
    assert purse.reserve(ONE)
    purse.settle(ONE, ONE)
    assert purse.spent.money is None
    assert purse.spent.calls == 2


def test_mistakes_of_the_caller():
    purse = BudgetPurse(Budget(calls=5))
    with pytest.raises(ValueError, match="settle each reservation once"):
        purse.settle(ONE, ONE)
    assert purse.reserve(ONE)
    with pytest.raises(ValueError, match="settle each reservation once"):
        purse.settle(replace(ONE, prompt_tokens=11), ONE)
    purse.settle(ONE, ONE)
    with pytest.raises(ValueError, match="calls of a cost must be at least 0 and finite, got -1"):
        purse.reserve(Usage(calls=-1))
    with pytest.raises(ValueError, match="money of a cost must be at least 0 and finite, got nan"):
        purse.reserve(Usage(money=float("nan")))
    assert purse.spent == ONE


COSTS = st.builds(
    lambda calls, prompt, completion, tenths: Usage(
        calls=calls, prompt_tokens=prompt, completion_tokens=completion, money=tenths / 10
    ),
    st.integers(0, 2),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(0, 20),
)
# reserve a cost, or settle one of those outstanding at a share of it
STEPS = st.lists(
    st.tuples(st.just("reserve"), COSTS, st.just(0))
    | st.tuples(st.sampled_from(["settle", "release"]), st.integers(0, 9), st.integers(0, 4)),
    max_size=60,
)


@settings(max_examples=150)
@given(STEPS, st.integers(0, 20), st.integers(0, 300), st.integers(0, 100))
def test_no_interleaving_passes_a_cap(steps, calls, tokens, tenths):
    """Against exact sums: never above a cap, and refused only where it would be."""
    purse = BudgetPurse(Budget(calls=calls, tokens=tokens, money=tenths / 10))
    caps = (calls, tokens, Fraction(tenths, 10))
    outstanding: list[Usage] = []
    spent: list[Usage] = []

    def exact(costs: list[Usage]) -> tuple[Fraction, ...]:
        return (
            Fraction(sum(one.calls for one in costs)),
            Fraction(sum(one.tokens for one in costs)),
            Fraction(sum(round((one.money or 0) * 1000) for one in costs), 1000),
        )

    for what, subject, share in steps:
        if what == "reserve":
            there, wanted = exact(spent + outstanding), exact([subject])
            fits = all(
                not more or old + more <= cap
                for old, more, cap in zip(there, wanted, caps, strict=True)
            )
            assert purse.reserve(subject) == fits
            outstanding += [subject] * fits
        elif outstanding:
            reserved = outstanding.pop(subject % len(outstanding))
            part = Usage(
                calls=reserved.calls,
                prompt_tokens=reserved.prompt_tokens * share // 4,
                completion_tokens=reserved.completion_tokens * share // 4,
                money=round((reserved.money or 0) * share / 4, 3),
            )
            paid = part if what == "settle" else Usage()
            purse.settle(reserved, paid)
            spent.append(paid)
        total = exact(spent + outstanding)
        assert all(value <= cap for value, cap in zip(total, caps, strict=True))
        assert exact([purse.spent]) == exact(spent)
        assert exact([purse.reserved]) == exact(outstanding)
        assert purse.spent.money is not None
        assert purse.spent.money <= tenths / 10
        assert purse.outstanding == len(outstanding)


def test_threads_together_spend_exactly_the_cap():
    purse = BudgetPurse(Budget(calls=500, tokens=10_000))
    highest: list[int] = []

    def work() -> None:
        for i in range(300):
            if purse.reserve(ONE):
                # every third is given back
                purse.settle(ONE, Usage() if i % 3 == 0 else ONE)
                highest.append(purse.spent.calls)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(highest) == purse.spent.calls == 500
    assert purse.outstanding == 0


def test_tasks_together_spend_exactly_the_cap():
    purse = BudgetPurse(Budget(calls=40))
    in_flight: list[int] = []

    async def ask(number: int) -> bool:
        if not purse.reserve(ONE):
            return False
        in_flight.append(purse.spent.calls + purse.reserved.calls)
        await asyncio.sleep(0.001 * (number % 3))
        purse.settle(ONE, ONE)
        return True

    async def ask_all() -> list[bool]:
        return await asyncio.gather(*(ask(number) for number in range(100)))

    assert sum(asyncio.run(ask_all())) == 40
    assert max(in_flight) == purse.spent.calls == 40
