"""A corpus of coloured pictures with planted damage, an encoder that logs, a method of means."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from labelnoise.audit import LabelAudit
from labelnoise.registry import Entry
from labelnoise.text_encoders.unit_rows import unit_rows
from multimodal.encoders import ENCODERS
from multimodal.encoders.base import Family
from multimodal.engine.embedded_files import open_embedded
from multimodal.engine.judge import AUDIT, NEIGHBOURS
from multimodal.engine.layout import read_layout
from multimodal.engine.steps import Step
from tests.multimodal.corpus.making import encoded, member, png_bomb, write_tar

# worker processes import this module with the method, and so know the family too
ENCODERS._entries.setdefault("toy", Entry("tests.multimodal.engine.toy_parts:FAMILY", "", ""))
COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (40, 60, 220)}
CLASSES = ("red", "green", "blue")


class ToyEncoder:
    """Mean colours of a 2 x 2 grid, or letters counted; a line in a log per call.

    The argument is the log; after a ``!`` the words in a text at which its process is killed.
    """

    width, batch_size = 12, 4

    def __init__(self, kind, log):
        self.kind, (self.log, _, self.deadly) = kind, log.partition("!")
        self.key = self.space = f"toy-{kind}"

    def encode(self, items):
        with Path(self.log).open("a") as log:
            log.write(f"{self.kind} {len(items)}\n")
        if self.deadly and self.kind == "text" and any(self.deadly in item for item in items):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "text":
            counts = [[text.count(letter) + 0.1 for letter in "abcdeghlnrtu"] for text in items]
            return unit_rows(np.array(counts))
        grids = [np.asarray(image.resize((2, 2), Image.Resampling.BOX), float) for image in items]
        return unit_rows(np.stack(grids).reshape(len(items), -1))


FAMILY = Family(
    image=lambda log, settings: ToyEncoder("image", log),
    text=lambda log, settings: ToyEncoder("text", log),
)


@dataclass(frozen=True)
class ToyMeans:
    """Relabels to the class whose mean picture is nearest, where that is another one."""

    name: ClassVar[str] = "toy_means"
    needs: ClassVar[tuple[str, ...]] = ("image", "text", "class_texts")

    lead: float = 0.0

    def judge(self, corpus, *, seed=0, progress=lambda stage, share: None):
        image, given = corpus.image.read(0, len(corpus)), corpus.given
        means = unit_rows(np.stack([image[given == c].mean(0) for c in range(corpus.n_classes)]))
        progress("scores", 0.5)
        scores = image @ means.T + 1e-3 * (corpus.text.read(0, len(corpus)) @ corpus.class_texts.T)
        best = scores.argmax(1)
        lead = scores.max(1) - np.where(given >= 0, scores[np.arange(len(given)), given], 0)
        moved = (best != given) & (lead > self.lead)
        abstain = (given < 0) & ~moved
        verdict = np.where(abstain, "abstain", np.where(moved, "relabel", "keep"))
        return LabelAudit(
            corpus.ids, given, verdict, np.where(abstain, -1, np.where(moved, best, given)),
            np.clip(1 - lead, 0, 1), np.where(moved, "nearer_mean", "near_mean"),
            {"lead": lead}, corpus.class_names, self.name,
            {"nearer_mean": "Another mean is nearer.", "near_mean": "None is nearer."},
            {"lead": self.lead}, seed,
        )  # fmt: skip


@dataclass(frozen=True)
class ToyStepped(ToyMeans):
    """The same in two steps, the second over shards."""

    name: ClassVar[str] = "toy_stepped"

    def steps(self):
        here = "tests.multimodal.engine.toy_parts"
        return (
            Step("toy-count", f"{here}:count", "once", ("class-texts",)),
            Step("toy-verdicts", f"{here}:verdicts", after=("toy-count",)),
        )


def count(context, unit):
    return {"rows": len(open_embedded(context))}


def verdicts(context, unit):
    layout, corpus = read_layout(context), open_embedded(context)
    assert context.stats("toy-count")["rows"] == len(corpus) == layout.starts[-1]
    start, stop = layout.starts[layout.number[unit] :][:2]
    with context.output(AUDIT) as path:
        context.job.method.judge(corpus).select(np.arange(start, stop)).write(path)
    with context.output(NEIGHBOURS) as path, path.open("wb") as file:
        np.save(file, np.arange(start, stop)[:, None] - 1)
    return {"rows": int(stop - start)}


def picture(colour, number):
    noise = np.random.default_rng(number).integers(-30, 30, (40, 48, 3))
    pixels = np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8)
    return encoded(Image.fromarray(pixels), quality=90)


def pair(key, colour, number, *, label=None, image=None, text=None):
    """Members of a sample; `label` "" leaves it to the text."""
    label = colour if label is None else label
    parts = [
        member(f"{key}.jpg", picture(colour, number) if image is None else image),
        member(f"{key}.txt", f"a {colour} thing {number}" if text is None else text),
    ]
    return [*parts, member(f"{key}.cls", label)] if label else parts


def make_corpus(folder, n_shards=3, per_shard=9):
    """Sound shards of pairs; every seventh label is wrong. Returns the folder of the tars."""
    for shard in range(n_shards):
        members = []
        for row in range(per_shard):
            number = shard * per_shard + row
            colour = CLASSES[number % 3]
            label = CLASSES[(number + 1) % 3] if number % 7 == 3 else None
            members += pair(f"{number:04d}", colour, number, label=label)
        write_tar(folder / f"{shard:05d}.tar", *members)
    return folder


def plant_damage(folder):
    """Damage in an otherwise sound corpus: id -> the problem it must have."""
    sound = [m for n in range(900, 910) for m in pair(f"{n}", CLASSES[n % 3], n)]
    write_tar(
        folder / "00100.tar",
        *sound,
        *pair("cut", "red", 1, image=picture("red", 1)[:400]),
        *pair("bomb", "red", 2, image=png_bomb(60_000)),
        *pair("0001", "red", 3),
        *pair("strange", "red", 4, label="ultraviolet"),
        *pair("proposed", "green", 5, label=""),
        *pair("mute", "blue", 6, label="", text=""),
        member("../../evil.jpg", picture("red", 7)),
        member("flat.jpg", encoded(Image.new("RGB", (64, 64), "white"))),
        member("flat.cls", "red"),
    )
    (folder / "00200.tar").write_bytes(b"this is no tar at all" * 100)
    return {
        "cut": "image_undecodable", "bomb": "image_too_large", "0001#00100:12": "duplicate_id",
        "strange": "unknown_label", "flat": "image_unusable", "proposed": None, "mute": None,
    }  # fmt: skip
