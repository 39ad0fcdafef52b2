"""Prompts as data: Jinja files in, messages out. Texts of nodes are material, never instructions.

A template is a file of three parts: front matter in YAML (`reply`, `max_tokens`, and where it
matters `temperature`, `samples`, `description`), a ``[system]`` and a ``[user]`` part; only the
last is needed. It sees ``text``, ``neighbours`` (a list of titles as one text, "" without) and
``exemplars`` (each with ``text`` and ``answer``), all of them fenced already; ``fence``, the tag
around them; ``classes`` (each with ``name``, ``definition``, ``synonyms``); ``item``, ``task``,
``top_k`` and ``structured``. ``{% include "_classes.jinja" %}`` and ``"_data_rule.jinja"`` come
along. Role and format are cut from the file before anything is filled in, so no text can add any.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphnoise.annotators.base import Questions
from labelnoise.class_list import ClassList, in_a_line

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import ImmutableSandboxedEnvironment

PROMPTS = Path(__file__).parent / "prompts"
SUFFIX = ".jinja"
REPLIES = ("name", "json", "ranked")
ROLES = ("system", "user")
FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*\n", re.DOTALL)
ROLE_LINE = re.compile(rf"^\[({'|'.join(ROLES)})\][ \t]*$", re.MULTILINE)
NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
FRONT_KEYS = ("reply", "max_tokens", "temperature", "samples", "description")
CHARACTERS_PER_TOKEN = 4
# what chat formats add around a message, about
TOKENS_PER_MESSAGE = 4
# Locle's limit, which small local models share
MAX_PROMPT_TOKENS = 4_000
SHORTENING = 0.9
SHORTENED = " […]"
LONGEST_TITLE = 200
LONGEST_BAD_REPLY = 500
# marks with which chat formats divide roles; in a text they would be read as such
ROLE_MARKS = re.compile(
    r"<(?=[|｜][^|｜<>\n]{1,40}[|｜]>|/?s>|(?:start|end)_of_turn>|</?SYS>>)|\[(?=/?INST\])"
)


@dataclass(frozen=True)
class PromptWords:
    """What a prompt says besides texts and classes.

    Attributes:
        item: What a text is called: "paper", "article".
        task: A sentence about the data, or "".
        top_k: Guesses asked for by a ranked reply; Locle's 3.
        max_prompt_tokens: Longer prompts have their text shortened by rule.
        max_neighbours: Titles shown at most.
        structured: Whether the answer will be constrained by `schema_for`, so that its shape can
            be shown.
    """

    item: str = "text"
    task: str = ""
    top_k: int = 3
    max_prompt_tokens: int = MAX_PROMPT_TOKENS
    max_neighbours: int = 10
    structured: bool = False

    def __post_init__(self) -> None:
        for name in ("top_k", "max_prompt_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


DEFAULT_WORDS = PromptWords()


@dataclass(frozen=True, eq=False)
class PromptTemplate:
    """A template, read and compiled.

    Attributes:
        name: Of the packaged template, or of the caller's file.
        version: Hash of everything that the prompt is made of, included files too.
        reply: Expected form: "name", "json" (``{"answer": ...}``) or "ranked" (a list of records
            with ``answer`` and ``confidence``).
        max_tokens: Enough for that form.
        temperature, samples: What the template is meant for, or None.
        description: One line.
        parts: Role and body, in order.
    """

    name: str
    version: str
    reply: str
    max_tokens: int
    temperature: float | None
    samples: int | None
    description: str
    parts: "tuple[tuple[str, Template], ...]"


@dataclass(frozen=True)
class Prompt:
    """One question as it is sent.

    Attributes:
        messages: Each with ``role`` and ``content``.
        template: Name of the template.
        version: Its `template_version`.
        reply: Form of the reply, of `REPLIES`.
        tokens: Of the messages.
        exact: Whether the tokens were counted by a tokenizer that knows the chat format.
        kept: Share of the text's characters shown; below 1 where it was shortened.
    """

    messages: tuple[dict[str, str], ...]
    template: str
    version: str
    reply: str
    tokens: int
    exact: bool
    kept: float = 1.0


def template_names() -> tuple[str, ...]:
    """Names of the templates that come along."""
    found = (path.stem for path in PROMPTS.glob(f"*{SUFFIX}"))
    return tuple(sorted(name for name in found if not name.startswith("_")))


def load_template(template: str | Path | PromptTemplate) -> PromptTemplate:
    """Read a template: a name of `template_names`, or the path of a file. Read once per process.

    Raises:
        ValueError: No such template, front matter that is not understood, or a Jinja error; names
            the file.
    """
    if isinstance(template, PromptTemplate):
        return template
    path = PROMPTS / f"{template}{SUFFIX}"
    if not NAME.match(str(template)) or not path.is_file():
        path = Path(template)
        if not path.is_file():
            raise ValueError(f"template must be one of {template_names()} or a file, got {path}")
    return _compiled(path, path.stat().st_mtime_ns)


def template_version(template: str | Path | PromptTemplate) -> str:
    """Hash of the template and of the files it includes, 16 hexadecimal digits.

    Raises:
        ValueError: As `load_template`.
    """
    return load_template(template).version


def make_prompt(
    template: str | Path | PromptTemplate,
    questions: Questions,
    row: int,
    *,
    words: PromptWords = DEFAULT_WORDS,
    tokenizer: Any = None,
) -> Prompt:
    """The complete prompt of one question.

    Args:
        template: As in `load_template`.
        questions: Texts, classes, exemplars and neighbours.
        row: Which question.
        words: See `PromptWords`.
        tokenizer: See `count_tokens`.

    Raises:
        ValueError: As `load_template`; a template that asks for something it is not given; or a
            prompt that is too long even without the text.
    """
    loaded = load_template(template)
    text = questions.texts[row]
    exemplars = [one for one in questions.exemplars if one.text != text]
    titles = [] if questions.neighbours is None else questions.neighbours[row]
    titles = [_title(one) for one in titles[: words.max_neighbours]]
    fence = choose_fence([text, *titles, *(one.text for one in exemplars)])

    def messages(shown: str) -> list[dict[str, str]]:
        bullets = "\n".join(f"- {title}" for title in titles)
        return _filled(loaded, {
            "text": _fenced(shown, fence),
            "neighbours": _fenced(bullets, fence) if titles else "",
            "exemplars": [
                {"text": _fenced(one.text, fence), "answer": questions.classes.names[one.label]}
                for one in exemplars
            ],
            "fence": fence,
            **_constants(questions.classes, words),
        })  # fmt: skip

    made = messages(text)
    tokens, exact = count_message_tokens(made, tokenizer)
    kept = 1.0
    if tokens > words.max_prompt_tokens:
        frame, _ = count_message_tokens(messages(""), tokenizer)
        if frame >= words.max_prompt_tokens:
            raise ValueError(
                f"the prompt must fit into {words.max_prompt_tokens} tokens, without any text it"
                f" takes {frame}"
            )
        short = shorten_text(text, words.max_prompt_tokens - frame, tokenizer)
        made, kept = messages(short), max(len(short) - len(SHORTENED), 0) / len(text)
        tokens, exact = count_message_tokens(made, tokenizer)
    return Prompt(tuple(made), loaded.name, loaded.version, loaded.reply, tokens, exact, kept)


def make_messages(
    template: str | Path | PromptTemplate,
    questions: Questions,
    row: int,
    *,
    words: PromptWords = DEFAULT_WORDS,
    tokenizer: Any = None,
) -> list[dict[str, str]]:
    """The messages of `make_prompt` alone."""
    made = make_prompt(template, questions, row, words=words, tokenizer=tokenizer)
    return [dict(message) for message in made.messages]


def repair_messages(
    messages: Sequence[Mapping[str, str]],
    reply: str,
    classes: ClassList,
    *,
    template: str | Path | PromptTemplate = "repair",
    words: PromptWords = DEFAULT_WORDS,
) -> list[dict[str, str]]:
    """The second question: the first one, the reply that could not be read, and the categories.

    Args:
        messages: Of the first question.
        reply: As received; shortened where it is very long.
        classes: The classes.
        template: Its ``[user]`` part is appended.
        words: See `PromptWords`.
    """
    said = shorten_text(_defused(reply.strip()), LONGEST_BAD_REPLY) or "(no reply)"
    asked = _filled(load_template(template), {"fence": "text", **_constants(classes, words)})
    return [*(dict(one) for one in messages), {"role": "assistant", "content": said}, *asked]


def render_prompt(messages: Sequence[Mapping[str, str]]) -> str:
    """Messages as one text for people to read."""
    return "\n\n".join(f"[{one['role']}]\n{one['content']}" for one in messages)


def count_tokens(text: str, tokenizer: Any = None) -> tuple[int, bool]:
    """Tokens of a text, and whether they were counted.

    Args:
        text: Any text.
        tokenizer: Of transformers or of tokenizers; None divides characters by 4.
    """
    if tokenizer is None:
        return -(-len(text) // CHARACTERS_PER_TOKEN), False
    encoded = tokenizer.encode(text, add_special_tokens=False)
    return len(getattr(encoded, "ids", encoded)), True


def count_message_tokens(
    messages: Sequence[Mapping[str, str]], tokenizer: Any = None
) -> tuple[int, bool]:
    """Tokens of messages, and whether they were counted in the format of the model's chat."""
    if getattr(tokenizer, "chat_template", None):
        text = tokenizer.apply_chat_template(
            [dict(one) for one in messages], tokenize=False, add_generation_prompt=True
        )
        return count_tokens(text, tokenizer)
    total = sum(count_tokens(one["content"], tokenizer)[0] for one in messages)
    return total + TOKENS_PER_MESSAGE * len(messages), False


def shorten_text(text: str, max_tokens: int, tokenizer: Any = None) -> str:
    """A text of at most `max_tokens` tokens, cut at its end by tenths until it fits.

    A mark says that it was cut. A text that fits comes back as it is.

    Raises:
        ValueError: `max_tokens` is below 1.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens must be at least 1, got {max_tokens}")
    if count_tokens(text, tokenizer)[0] <= max_tokens:
        return text
    length = len(text)
    while length > 0:
        length = int(length * SHORTENING)
        short = text[:length] + SHORTENED
        if count_tokens(short, tokenizer)[0] <= max_tokens:
            return short
    return ""


def schema_for(classes: ClassList, reply: str) -> dict[str, Any]:
    """JSON schema of a reply, strict: an object, nothing beside what is asked for.

    Args:
        classes: Whose names are the only answers.
        reply: Of `REPLIES`; "name" and "json" share ``{"answer": ...}``.

    Raises:
        ValueError: Another `reply`.
    """
    if reply not in REPLIES:
        raise ValueError(f"reply must be one of {REPLIES}, got {reply!r}")
    answer = {"type": "string", "enum": choices_for(classes)}
    if reply != "ranked":
        return _record({"answer": answer})
    record = _record({"answer": answer, "confidence": {"type": "number"}})
    return _record({"answers": {"type": "array", "items": record}})


def choices_for(classes: ClassList) -> list[str]:
    """The only answers, for servers that constrain by choice."""
    return list(classes.names)


def choose_fence(texts: Sequence[str]) -> str:
    """A tag that closes in none of the texts: "text", else "text-2", "text-3", ..."""
    packed = "".join("".join(text.split()) for text in texts).casefold()
    number, fence = 1, "text"
    while f"{fence}>" in packed:
        number += 1
        fence = f"text-{number}"
    return fence


def _record(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _constants(classes: ClassList, words: PromptWords) -> dict[str, Any]:
    columns = zip(classes.names, classes.definitions, classes.synonyms, strict=True)
    told = {one.name: getattr(words, one.name) for one in fields(words)}
    told["classes"] = [
        {"name": name, "definition": definition, "synonyms": synonyms}
        for name, definition, synonyms in columns
    ]
    return told


def _filled(template: PromptTemplate, values: dict[str, Any]) -> list[dict[str, str]]:
    from jinja2 import TemplateError

    try:
        return [
            {"role": role, "content": body.render(values).strip()} for role, body in template.parts
        ]
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise ValueError(f"{template.name}: {error}") from None


def _fenced(text: str, fence: str) -> str:
    return f"<{fence}>\n{_defused(text)}\n</{fence}>"


def _defused(text: str) -> str:
    """Marks of chat formats with a blank in them, so that a server takes them for text."""
    return ROLE_MARKS.sub(lambda mark: f"{mark[0]} ", text)


def _title(text: str) -> str:
    """First line of a text, shortened."""
    lines = text.strip().splitlines()
    return lines[0].strip()[:LONGEST_TITLE] if lines else "(no text)"


@lru_cache(maxsize=64)
def _compiled(path: Path, changed: int) -> PromptTemplate:
    from jinja2 import TemplateError

    source = path.read_text(encoding="utf-8").replace("\r\n", "\n")
    environment = _environment(path.parent)
    try:
        front, body = _divided(source)
        pieces = ROLE_LINE.split(body)
        if pieces[0].strip() or "user" not in pieces[1::2]:
            raise ValueError("text must stand in a part [system] or [user], and [user] is needed")
        parts = tuple(
            (role, environment.from_string(piece))
            for role, piece in zip(pieces[1::2], pieces[2::2], strict=True)
        )
        version = _hash_of(environment, source)
    except (TemplateError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    return PromptTemplate(
        path.stem if path.parent == PROMPTS else path.name, version, front["reply"],
        front["max_tokens"], front.get("temperature"), front.get("samples"),
        front.get("description", ""), parts,
    )  # fmt: skip


def _environment(folder: Path) -> "ImmutableSandboxedEnvironment":
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader([folder, PROMPTS]), undefined=StrictUndefined,
        autoescape=False, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


def _divided(source: str) -> tuple[dict[str, Any], str]:
    """Front matter and the rest."""
    import yaml

    found = FRONT_MATTER.match(source)
    try:
        front = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError as error:
        raise ValueError(f"front matter is no YAML: {in_a_line(error)}") from None
    if found is None or not isinstance(front, dict) or not set(front) <= set(FRONT_KEYS):
        raise ValueError(f"a template must start with front matter, keys of {FRONT_KEYS}")
    if front.get("reply") not in REPLIES:
        raise ValueError(f"reply must be one of {REPLIES}, got {front.get('reply')!r}")
    limit = front.get("max_tokens")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise ValueError(f"max_tokens must be a whole number from 1, got {limit!r}")
    return front, source[found.end() :]


def _hash_of(environment: "ImmutableSandboxedEnvironment", source: str) -> str:
    from jinja2 import meta

    pending, seen = [source], {source}
    digest = hashlib.sha256()
    while pending:
        text = pending.pop(0)
        digest.update(f"{len(text)}:{text}".encode())
        for name in sorted(filter(None, meta.find_referenced_templates(environment.parse(text)))):
            assert environment.loader is not None
            included = environment.loader.get_source(environment, name)[0]
            if included not in seen:
                seen.add(included)
                pending.append(included)
    return digest.hexdigest()[:16]
