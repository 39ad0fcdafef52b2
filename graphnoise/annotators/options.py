"""What an annotator is told besides who answers: prompt, sampling, limits, places."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

DEFAULT_KEY = "OPENAI_API_KEY"
READINGS = ("letters", "names")
ADDRESS = re.compile(r"^https?://", re.IGNORECASE)
MODEL_AT_ADDRESS = re.compile(r"^(?P<model>.*?)@(?P<url>https?://.+)$", re.IGNORECASE)


@dataclass(frozen=True)
class AnnotatorOptions:
    """Settings of all annotators; each reads those that concern it.

    Attributes:
        model: Name of the model where the spec is only an address.
        prompt: Name of a template in `graphnoise.annotators.prompts`, or the caller's own file.
        few_shot: File of exemplars, shown before every question; None shows none.
        neighbours: Titles of neighbours shown per question.
        samples: Answers per question; more than 1 needs a temperature above 0, or they are copies.
        temperature: Of sampling; 0 takes the likeliest token.
        top_p: Share of the probability sampled from; None leaves it to the server.
        max_tokens: Of one answer; reserved in the budget before a question is sent.
        seed: Of sampling, where the server honours it, and of everything drawn here.
        repair: Whether a reply that cannot be read is answered by one more question, which costs.
        concurrency: Requests in flight at most.
        requests_per_minute: At most; None sets no limit.
        tokens_per_minute: At most; None sets no limit.
        timeout: Seconds until a request counts as failed.
        retries: Times a request is sent again after 429, 5xx or a broken connection.
        api_key_env: Name of the environment variable with the key; never the key.
        cache: File of kept answers; None keeps none.
        prices: File of prices that overrides the table that comes along.
        tokenizer: Name or folder of the tokenizer that counts tokens beforehand; None divides
            characters by 4.
        device: "cpu", "cuda", ...; None takes the best there is.
        batch_size: Texts per call of a model in this process; None is what suits the device.
        text_encoder: Spec for `graphnoise.annotators.text_encoding.encode_texts`.
        class_scores: File ``.npz`` with scores ``[N, K]`` of every node for the embedding
            annotator; None embeds the texts and the descriptions.
        reading: Of a model in this process: "letters" asks for the letter of an option in one
            step, "names" scores every class name as a continuation; None takes letters up to 26
            classes.
        orders: Orders of the options averaged over (letters only): models prefer places.
        list_confidence: Of replayed lists with 1, 2, ... distinct classes; the last holds for
            longer ones.
    """

    model: str | None = None
    prompt: str | Path = "zero_shot"
    few_shot: Path | None = None
    neighbours: int = 0
    samples: int = 1
    temperature: float = 0.0
    top_p: float | None = None
    max_tokens: int = 256
    seed: int = 0
    repair: bool = True
    concurrency: int = 16
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout: float = 60.0
    retries: int = 6
    api_key_env: str = DEFAULT_KEY
    cache: Path | None = None
    prices: Path | None = None
    tokenizer: str | None = None
    device: str | None = None
    batch_size: int | None = None
    text_encoder: str = "minilm"
    class_scores: Path | None = None
    reading: str | None = None
    orders: int = 1
    list_confidence: tuple[float, ...] = (0.90, 0.75, 0.60, 0.50)

    def __post_init__(self) -> None:
        for name in ("samples", "max_tokens", "concurrency", "orders"):
            _check(name, getattr(self, name) >= 1, "at least 1", getattr(self, name))
        for name in ("neighbours", "retries", "temperature", "seed"):
            _check(name, getattr(self, name) >= 0, "at least 0", getattr(self, name))
        for name in ("requests_per_minute", "tokens_per_minute", "batch_size"):
            value = getattr(self, name)
            _check(name, value is None or value >= 1, "at least 1, or None", value)
        _check("timeout", self.timeout > 0, "above 0 seconds", self.timeout)
        _check("top_p", self.top_p is None or 0 < self.top_p <= 1, "in (0, 1]", self.top_p)
        copies = self.samples > 1 and self.temperature == 0
        _check("temperature", not copies, "above 0 for more than one sample", self.temperature)
        name = self.api_key_env
        # somebody who pastes the key itself must not find it in job.json
        plain = bool(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name)) and not _like_a_key(name)
        _check("api_key_env", plain, "the name of an environment variable, not a key", "<hidden>")
        known = self.reading in (None, *READINGS)
        _check("reading", known, f"one of {READINGS}, or None", self.reading)
        shares = self.list_confidence
        inside = bool(shares) and all(0 < share <= 1 for share in shares)
        _check("list_confidence", inside, "numbers in (0, 1]", shares)


@dataclass(frozen=True)
class AnnotatorSpec:
    """A spec taken apart; see `graphnoise.annotators.choosing.read_spec`.

    Attributes:
        kind: Key of `graphnoise.annotators.ANNOTATORS`.
        argument: What follows ``KIND:``: a model, a folder, a file; "" where nothing does.
        url: Address of the server, without credentials and trailing slash; None where none is
            given.
    """

    kind: str
    argument: str = ""
    url: str | None = None

    def __str__(self) -> str:
        text = f"{self.kind}:{self.argument}" if self.argument else self.kind
        return text if self.url is None else f"{text}@{self.url}"


def clean_address(url: str) -> str:
    """The address of a server without trailing slash.

    Raises:
        ValueError: No http(s) address, no host, or one with a user name, password, query or
            fragment: addresses are written to files, secrets are not.
    """
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError(
            "the address must hold no user name, password, query or fragment; keys are read from"
            " the environment"
        )
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise ValueError(f"the address must be http(s)://HOST[:PORT]/PATH, got {url!r}")
    return url.rstrip("/")


def _like_a_key(name: str) -> bool:
    return name.startswith(("sk_", "sk-")) or (len(name) > 24 and any(map(str.isdigit, name)))


def _check(name: str, good: bool, expected: str, found: Any) -> None:
    if not good:
        raise ValueError(f"{name} must be {expected}, got {found!r}")
