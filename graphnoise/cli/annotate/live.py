"""What is seen of a run while it asks: a line on the terminal, and a file for `status`."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from graphnoise.annotators.base import Annotator, Estimate, Purse, Questions, Votes
from graphnoise.annotators.base import Progress as Told
from graphnoise.annotators.combined import served_parts
from graphnoise.report.annotation_words import paid
from labelnoise.atomic_files import write_json

# seconds between two notes; a note costs a file
PAUSE = 0.3


class Watched:
    """An annotator whose answers are counted as they come; asks nothing itself.

    Args:
        inner: Who is asked.
        note: Called with the counts whenever something changed.
    """

    def __init__(self, inner: Annotator, note: "Note") -> None:
        self.inner, self.note, self.rounds = inner, note, 0

    @property
    def name(self) -> str:
        """Key of the registry."""
        return self.inner.name

    def settings(self) -> Mapping[str, Any]:
        """Those of the annotator."""
        return self.inner.settings()

    def estimate(self, questions: Questions) -> Estimate:
        """The annotator's."""
        return self.inner.estimate(questions)

    def annotate(
        self, questions: Questions, *, purse: Purse | None = None, progress: Told | None = None
    ) -> Votes:
        """The annotator's answers."""
        before = self.note.asked
        for part in served_parts(self.inner):
            # the same rounds in the same order when resumed: the ledger finds its rows again
            part.stage = f"Q{self.rounds}"
        self.rounds += 1

        def tell(done: int, total: int, what: str) -> None:
            self.note.tell(asked=before + done, stage=what)
            if progress is not None:
                progress(done, total, what)

        votes = self.inner.annotate(questions, purse=purse, progress=tell)
        self.note.count(votes)
        return votes


class Note:
    """Counts of a run, written to a file and drawn, at most a few times a second.

    Args:
        path: The file, or None.
        purse: What was spent.
        total: Nodes that may be asked.
    """

    def __init__(self, path: Path | None, purse: Purse, total: int) -> None:
        self.path, self.purse, self.total = path, purse, total
        self.asked = self.answered = 0
        self.stage = ""
        self.reasons: Counter[str] = Counter()
        self.bar: Progress | None = None
        self._last = 0.0

    def tell(self, *, asked: int, stage: str) -> None:
        """An answer came."""
        self.asked, self.stage = max(self.asked, asked), stage or self.stage
        if monotonic() - self._last > PAUSE:
            self.show()

    def count(self, votes: Votes) -> None:
        """A round of questions is over."""
        self.answered += int(votes.answered.sum())
        self.reasons.update(votes.reason[~votes.answered].tolist())
        self.asked = self.answered + sum(self.reasons.values())
        self.show()

    def begin_stage(self, name: str, numbers: Mapping[str, float]) -> None:
        """A stage of the recipe was reported."""
        self.stage = name
        self.show()

    def show(self) -> None:
        """Write and draw the counts."""
        self._last = monotonic()
        spent = asdict(self.purse.spent)
        abstained = sum(self.reasons.values())
        if self.path is not None:
            write_json(self.path, {
                "asked": self.asked, "answered": self.answered, "abstained": abstained,
                "stage": self.stage, "spent": spent,
            })  # fmt: skip
        if self.bar is not None:
            rest = self.asked - self.answered - abstained
            said = f"{self.answered} answered, {abstained} abstained, {paid(spent)}"
            said = f"{rest} just came, {said}" if rest else said
            self.bar.update(self.bar.task_ids[0], completed=self.asked, said=said)


@contextmanager
def live(note: Note) -> Iterator[Note]:
    """Draw the counts on stderr where it is a terminal, and note the last ones at the end."""
    console = Console(stderr=True)
    columns = (
        TextColumn("asked {task.completed:.0f}/{task.total:.0f}"),
        BarColumn(),
        TextColumn("{task.fields[said]}"),
    )
    # four redraws a second are smooth enough and cost nothing beside an answer
    bar = Progress(*columns, console=console, disable=not console.is_terminal, refresh_per_second=4)
    with bar:
        bar.add_task("", total=note.total, said="")
        note.bar = bar
        try:
            yield note
        finally:
            note.show()
            note.bar = None


def reasons_in_words(note: Note) -> str:
    """Why nodes have no answer, most frequent first."""
    return ", ".join(f"{name} {n}x" for name, n in note.reasons.most_common())
