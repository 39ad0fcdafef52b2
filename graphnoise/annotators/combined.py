"""Several annotators as one: each answers every question, their votes are combined."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from graphnoise.annotators.base import (
    Annotator,
    Estimate,
    Progress,
    Purse,
    Questions,
    Usage,
    Votes,
)
from graphnoise.annotators.combining import combine_votes
from graphnoise.annotators.options import AnnotatorOptions, AnnotatorSpec

if TYPE_CHECKING:
    from graphnoise.annotators.served import ServedAnnotator
    from graphnoise.text_graph import TextGraph

SEPARATOR = ","


class CombinedAnnotator:
    """Asks all its annotators and combines their votes by Dawid and Skene's model.

    A question costs a call of each of them. What one of them is refused by the purse, or abstains
    from, the others may still answer.

    Args:
        annotators: Two at least.

    Raises:
        ValueError: Fewer than two annotators.
    """

    name = "combined"

    def __init__(self, annotators: Sequence[Annotator]) -> None:
        if len(annotators) < 2:
            raise ValueError(f"annotators must be at least 2 to combine, got {len(annotators)}")
        self.annotators = tuple(annotators)

    @classmethod
    def from_spec(
        cls, spec: AnnotatorSpec, options: AnnotatorOptions, graph: "TextGraph | None"
    ) -> Self:
        """``combined:SPEC,SPEC``: annotators by their own specs, under the same options.

        Raises:
            ValueError: Fewer than two specs, or one of them is unknown.
        """
        from graphnoise.annotators.choosing import make_annotator

        parts = [part.strip() for part in spec.argument.split(SEPARATOR) if part.strip()]
        return cls([make_annotator(part, options, graph=graph) for part in parts])

    def settings(self) -> Mapping[str, Any]:
        """Those of every annotator, in order."""
        return {"annotators": [{"name": a.name, **a.settings()} for a in self.annotators]}

    def estimate(self, questions: Questions) -> Estimate:
        """The sum over the annotators; the first prompt of any."""
        parts = [annotator.estimate(questions) for annotator in self.annotators]
        usage = Usage()
        for part in parts:
            usage = usage + part.usage
        exact = "; ".join(dict.fromkeys(part.exact for part in parts if part.exact))
        prompt = next((part.sample_prompt for part in parts if part.sample_prompt), "")
        return Estimate(usage, exact, prompt)

    def annotate(
        self, questions: Questions, *, purse: Purse | None = None, progress: Progress | None = None
    ) -> Votes:
        """The combined votes; the record of a question holds those of each annotator."""
        votes = [
            annotator.annotate(questions, purse=purse, progress=progress)
            for annotator in self.annotators
        ]
        records = tuple(
            {
                "annotators": [
                    {
                        "name": annotator.name,
                        "label": int(part.labels[row]),
                        "reason": str(part.reason[row]),
                        **(part.records[row] if part.records else {}),
                    }
                    for annotator, part in zip(self.annotators, votes, strict=True)
                ]
            }
            for row in range(len(questions))
        )
        return replace(combine_votes(votes), records=records)

    def close(self) -> None:
        """Close the annotators that keep a file of answers open."""
        for part in served_parts(self):
            part.close()


def served_parts(annotator: Annotator) -> "list[ServedAnnotator]":
    """The annotators behind a server in this one, itself or its parts: what has a ledger."""
    from graphnoise.annotators.served import ServedAnnotator

    if isinstance(annotator, CombinedAnnotator):
        return [part for one in annotator.annotators for part in served_parts(one)]
    return [annotator] if isinstance(annotator, ServedAnnotator) else []
