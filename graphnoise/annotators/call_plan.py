"""What asking a server would cost, counted before anything is sent."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from graphnoise.annotators.answer_cache import StoredAnswer
from graphnoise.annotators.asking import Request
from graphnoise.annotators.base import Usage
from graphnoise.annotators.session import Dialogue


class CallPlan:
    """What asking would cost, window by window.

    Args:
        dialogue: How it is asked.
        many: Whether one request may carry several samples.
    """

    def __init__(self, dialogue: Dialogue, many: bool) -> None:
        self.dialogue, self.many, self.sample = dialogue, many, ""
        self.seen: set[str] = set()
        self.calls = self.cached = self.sent = self.samples = self.prompt = 0
        self.seconds: list[float] = []

    def add(self, requests: Iterable[Request], found: Mapping[str, Sequence[StoredAnswer]]) -> None:
        """Count some requests."""
        for request in requests:
            answers = found[request.key]
            missing = request.samples - len(answers)
            self.calls += 1
            self.seconds.extend(one.seconds for one in answers)
            if missing <= 0 or request.key in self.seen:
                self.cached += 1
            else:
                sends = 1 if self.many else missing
                self.sent += sends
                self.samples += missing
                self.prompt += request.prompt_tokens * sends
            if not self.sample or (missing > 0 and not self.sent):
                self.sample = self.dialogue.shown(request)
            self.seen.add(request.key)

    def usage(self, money: Callable[[int, int], float | None], completion: int) -> Usage:
        """The sum; an answer takes as long as those in the cache did."""
        seconds = sum(self.seconds) / len(self.seconds) * self.sent if self.seconds else 0.0
        written = self.samples * completion
        return Usage(
            self.calls, self.sent, self.cached, samples=self.samples, prompt_tokens=self.prompt,
            completion_tokens=written, money=money(self.prompt, written), seconds=seconds,
        )  # fmt: skip
