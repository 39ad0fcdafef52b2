"""An annotator by its spec.

================================ ==================================================================
spec                             who answers
================================ ==================================================================
``openai:MODEL@URL``             MODEL behind any OpenAI-compatible address, ``http://host:port/v1``
``openai:MODEL``                 the same where the ``openai`` client finds its address itself
``URL``                          the same, the model named in the options
``systemone:MODEL@URL``          class probabilities of ``transformers serve``
``local:FOLDER``                 a causal language model in this process: folder or name of the hub
``embedding:ENCODER``            nearest class description, no LLM; default: the options' encoder
``replay:FILE`` or ``FILE#KEY``  recorded answers; KEY names an array of an ``.npz``
``simulated``                    answers drawn from the truth with an LLM's errors
``combined:SPEC,SPEC``           several of the above, their votes combined
================================ ==================================================================
"""

from typing import TYPE_CHECKING, Protocol, cast

from graphnoise.annotators import ANNOTATORS
from graphnoise.annotators.base import Annotator
from graphnoise.annotators.options import (
    ADDRESS,
    MODEL_AT_ADDRESS,
    AnnotatorOptions,
    AnnotatorSpec,
    clean_address,
)

if TYPE_CHECKING:
    from graphnoise.text_graph import TextGraph

WITH_ADDRESS = ("openai", "systemone")
NEED_ARGUMENT = ("local", "replay", "combined")
NEED_GRAPH = ("simulated",)


class Buildable(Protocol):
    """What a class named in `ANNOTATORS` offers besides `Annotator`."""

    @classmethod
    def from_spec(
        cls, spec: AnnotatorSpec, options: AnnotatorOptions, graph: "TextGraph | None"
    ) -> Annotator:
        """The annotator that the spec names; `graph` is what will be asked about."""
        ...


def make_annotator(
    spec: str, options: AnnotatorOptions | None = None, *, graph: "TextGraph | None" = None
) -> Annotator:
    """The annotator that a spec names.

    Args:
        spec: See `graphnoise.annotators.choosing`.
        options: None takes the defaults.
        graph: What will be asked about: the simulated annotator reads its truth, the embedding
            one standardises over its nodes, replay checks that its nodes fit the file.

    Raises:
        ValueError: Unknown kind, or a spec without what its kind needs.
        ImportError: An extra is not installed; names it.
        OSError: A file that cannot be read.
    """
    options = AnnotatorOptions() if options is None else options
    parsed = read_spec(spec, options)
    if parsed.kind in NEED_GRAPH and graph is None:
        raise ValueError(f"annotator {parsed.kind!r} needs graph=: it answers from its truth")
    target = cast(Buildable, ANNOTATORS.load(parsed.kind))
    return target.from_spec(parsed, options, graph)


def read_spec(spec: str, options: AnnotatorOptions | None = None) -> AnnotatorSpec:
    """Take a spec apart.

    Args:
        spec: See `graphnoise.annotators.choosing`.
        options: Whose `model` is taken where the spec is an address alone.

    Raises:
        ValueError: Unknown kind, or a spec without what its kind needs.

    Example:
        >>> read_spec("openai:llama3:8b@http://127.0.0.1:11434/v1/")
        AnnotatorSpec(kind='openai', argument='llama3:8b', url='http://127.0.0.1:11434/v1')
    """
    options = AnnotatorOptions() if options is None else options
    if ADDRESS.match(spec):
        spec = f"openai:@{spec}"
    kind, _, argument = spec.partition(":")
    if kind not in ANNOTATORS:
        raise ValueError(
            f"an annotator must be KIND[:ARGUMENT] with KIND of {list(ANNOTATORS)}, or an"
            f" http(s) address, got {kind[:40]!r}"
        )
    url = None
    if kind in WITH_ADDRESS:
        found = MODEL_AT_ADDRESS.match(argument)
        if found:
            argument, url = found["model"], clean_address(found["url"])
        elif _half_an_address(argument):
            # never asked elsewhere instead; not repeated, it may hold a password
            raise ValueError(f"{kind}: the address behind @ must be http(s)://HOST[:PORT]/PATH")
        argument = argument or options.model or ""
        if not argument or (kind == "systemone" and url is None):
            raise ValueError(f"{kind} needs a model and an address: {kind}:MODEL@http://...")
    elif kind in NEED_ARGUMENT and not argument:
        wanted = (
            "two specs: combined:SPEC,SPEC"
            if kind == "combined"
            else f"a file or folder: {kind}:PATH"
        )
        raise ValueError(f"annotator {kind!r} needs {wanted}")
    return AnnotatorSpec(kind, argument, url)


def _half_an_address(argument: str) -> bool:
    """Whether an address was meant: models are called ``a/b``, ``a:8b`` or ``a@001``."""
    _, mark, behind = argument.rpartition("@")
    return "://" in argument or (bool(mark) and (not behind or any(one in behind for one in ":/")))
