"""What annotators behind a server share: probe, plan, cache first, then ask; nothing is lost."""

import random
import secrets
import shutil
import tempfile
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphnoise.annotators.answer_cache import AnswerCache, StoredAnswer
from graphnoise.annotators.asking import Asker, AskSettings, Request
from graphnoise.annotators.base import Estimate, NoLimit, Progress, Purse, Questions, Votes
from graphnoise.annotators.call_plan import CallPlan
from graphnoise.annotators.capabilities import Ask, Capabilities, capability_key
from graphnoise.annotators.connection import Connection, known_address, read_key
from graphnoise.annotators.event_loop import run_to_end
from graphnoise.annotators.options import AnnotatorOptions, AnnotatorSpec
from graphnoise.annotators.prices import load_prices
from graphnoise.annotators.prompting import DEFAULT_WORDS, PromptWords
from graphnoise.annotators.retrying import Pace, Patience
from graphnoise.annotators.session import Dialogue, Session, probed, votes_of, windows, with_text

if TYPE_CHECKING:
    from typing import Self

    from graphnoise.text_graph import TextGraph


class ServedAnnotator(ABC):
    """An annotator behind a server. Subclasses say how questions become requests.

    Args:
        model: Name of the model, as the server knows it.
        url: Address such as ``http://127.0.0.1:8000/v1``; None takes the ``openai`` client's own.
        options: See `AnnotatorOptions`. Without a cache file, answers are kept as long as the
            annotator.
        words: Words of the prompt.
        patience: Waits and retries; None takes the defaults with the options' retries.

    Attributes:
        run: Id of the run in the ledger; set it to go on with a run.
        stage: Of the method, for the ledger.
    """

    name: str
    endpoint_class: str

    def __init__(
        self,
        model: str,
        url: str | None = None,
        options: AnnotatorOptions | None = None,
        *,
        words: PromptWords = DEFAULT_WORDS,
        patience: Patience | None = None,
    ) -> None:
        if not model:
            raise ValueError("model must name a model of the server, got ''")
        self.model, self.url, self.words = model, known_address(url), words
        self.options = AnnotatorOptions() if options is None else options
        self.patience = Patience(self.options.retries) if patience is None else patience
        self.price = load_prices(self.options.prices).price_of(model, self.url)
        self.run, self.stage = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}", ""
        self._cache: AnswerCache | None = None
        self._forget: Callable[[], Any] | None = None
        # one for all calls: limits of a server do not end with a stage
        self._pace = Pace(self.options.requests_per_minute, self.options.tokens_per_minute)

    @classmethod
    def from_spec(
        cls, spec: AnnotatorSpec, options: AnnotatorOptions, graph: "TextGraph | None" = None
    ) -> "Self":
        """As a spec says; the graph is not needed."""
        return cls(spec.argument, spec.url, options)

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the cache; the next question opens it again."""
        if self._cache is not None:
            self._cache.close()
            self._cache = None
        if self._forget is not None:
            self._forget()
            self._forget = None

    def settings(self) -> Mapping[str, Any]:
        """Everything that decides the answers; the key is not among it."""
        return {
            "annotator": self.name, "model": self.model, "url": self.url,
            "seed": self.options.seed, "max_tokens": self.options.max_tokens,
            "words": asdict(self.words),
        }  # fmt: skip

    @property
    def capabilities(self) -> Capabilities | None:
        """What the server was found to do, or None where it was not asked yet."""
        path = self.options.cache
        if self._cache is None and (path is None or not Path(path).is_file()):
            return None
        cache = self._cache or AnswerCache(Path(path or ""), read_only=True)
        record = cache.capability(self._capability_key)
        if cache is not self._cache:
            cache.close()
        return None if record is None else Capabilities.from_json(record)

    def estimate(self, questions: Questions) -> Estimate:
        """The cost of `annotate`. Sends nothing and writes nothing."""
        known = self.capabilities
        dialogue = self._dialogue(questions, known or Capabilities(n=True))
        plan = CallPlan(dialogue, self._many(known or Capabilities(n=True)))
        for rows in windows(with_text(questions)):
            requests = [dialogue.first(row) for row in rows]
            plan.add(requests, self._looked_up(requests))
        usage = plan.usage(self._money, self._expected_completion())
        tokens = "counted" if self.options.tokenizer else "characters / 4"
        exact = (
            f"calls are exact but for repairs; prompt tokens: {tokens}; completion tokens are"
            f" expected, {self.options.max_tokens} are reserved per answer"
        )
        if known is None:
            exact += "; a few small requests that probe the server come on top"
        return Estimate(usage, exact, plan.sample)

    def annotate(
        self, questions: Questions, *, purse: Purse | None = None, progress: Progress | None = None
    ) -> Votes:
        """One vote per question; see `Annotator`. Interrupted, every answer so far is kept.

        Raises:
            EndpointError: A wrong key, model or address, or a server that is gone.
            ValueError: A cap in dollars without a known price; a prompt that cannot be made.
            ImportError: The ``openai`` client is not installed.
        """
        return run_to_end(self.annotate_async(questions, purse=purse, progress=progress))

    async def annotate_async(
        self, questions: Questions, *, purse: Purse | None = None, progress: Progress | None = None
    ) -> Votes:
        """`annotate` inside a running event loop."""
        asker = self._asker(purse)
        try:
            asked = await Session(self, asker, questions, progress).all_outcomes()
        finally:
            await asker.close()
        return votes_of(asked, asker.probed, len(questions.classes))

    def probe(self, *, purse: Purse | None = None) -> Capabilities:
        """What the server does: from the cache, else by a few small requests.

        Raises:
            EndpointError: A wrong key, model or address.
            BudgetReached: The purse refused.
        """

        async def look() -> Capabilities:
            asker = self._asker(purse)
            try:
                return await probed(self, asker)
            finally:
                await asker.close()

        return run_to_end(look())

    def _asker(self, purse: Purse | None) -> Asker:
        return Asker(
            self._connect, self._opened(), NoLimit() if purse is None else purse,
            patience=self.patience,
            pace=self._pace,
            settings=AskSettings(
                self.run, self.stage, self.model, many=False, seeded=False,
                capability=self._capability_key, is_answer=_is_anything, price=self._money,
            ),
            draw=random.Random(self.options.seed),
        )  # fmt: skip

    @abstractmethod
    def _dialogue(self, questions: Questions, capabilities: Capabilities) -> Dialogue:
        """How these questions are asked."""

    @abstractmethod
    async def _probe(self, ask: Ask) -> Capabilities:
        """Find out what the server does."""

    @abstractmethod
    def _is_answer(self, body: Mapping[str, Any]) -> bool:
        """Whether a body is an answer at all."""

    @abstractmethod
    def _expected_completion(self) -> int:
        """Tokens of a usual answer."""

    def _many(self, capabilities: Capabilities) -> bool:
        return capabilities.n

    @property
    def _capability_key(self) -> str:
        return capability_key(self.url or "", self.model, self.endpoint_class)

    def _money(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        return None if self.price is None else self.price.money(prompt_tokens, completion_tokens)

    def _connect(self) -> Connection:
        return Connection(
            self.url, timeout=self.options.timeout, key_variable=self.options.api_key_env
        )

    def _opened(self) -> AnswerCache:
        if self._cache is None:
            path = self.options.cache
            if path is None:
                folder = tempfile.mkdtemp(prefix="answers-")
                self._forget = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
                path = Path(folder) / "answers.sqlite"
            key = read_key(self.options.api_key_env)
            self._cache = AnswerCache(path, secrets=[key] if key else [])
        return self._cache

    def _looked_up(self, requests: Sequence[Request]) -> dict[str, list[StoredAnswer]]:
        path = self.options.cache
        keys = {request.key for request in requests}
        if not keys or (self._cache is None and (path is None or not Path(path).is_file())):
            return {key: [] for key in keys}
        if self._cache is not None:
            return self._cache.get_many(keys, requests[0].samples)
        with AnswerCache(Path(path or ""), read_only=True) as cache:
            return cache.get_many(keys, requests[0].samples)


def _is_anything(body: Mapping[str, Any]) -> bool:
    return True
