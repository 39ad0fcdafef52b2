"""How the stages of CAPro leave their results on disk: plain arrays, read without pickle."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelnoise.noise_channel import NoiseChannel
from multimodal.calibration import Calibration, Curve, HeldOut
from multimodal.capro_stages import Judges
from multimodal.channel_calibration import ChannelFit, Views
from multimodal.engine.context import StepContext
from multimodal.mixed_scores import MixSettings
from multimodal.probe import FoldModels
from multimodal.visual_prototypes import VisualPrototypes


def write_arrays(context: StepContext, suffix: str, **arrays: NDArray[Any]) -> None:
    """Several arrays as one file."""
    with context.output(suffix) as path, path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """What `write_arrays` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def write_columns(context: StepContext, **arrays: NDArray[Any]) -> None:
    """A file per array, to be memory-mapped."""
    for name, array in arrays.items():
        with context.output(f".{name}.npy") as path, path.open("wb") as file:
            np.save(file, array, allow_pickle=False)


def write_judges(context: StepContext, suffix: str, judges: Judges) -> None:
    """Prototypes, classifier, held-out members, temperatures and channel."""
    none = np.empty(0, np.float32)
    models, held, fit = judges.classifier, judges.held_out, judges.fit
    views = None if fit is None else fit.views
    numbers = [judges.mix.alpha, judges.mix.tau]
    if views is not None:
        numbers += [
            views.alpha, views.text_share, views.tau, views.text_tau, views.classifier_temperature,
            float(views.class_texts is not None),
        ]  # fmt: skip
    write_arrays(
        context, suffix, numbers=np.array(numbers), fold=judges.fold,
        weight=none if models is None else models.weight,
        bias=none if models is None else models.bias,
        penalty=np.array(np.nan if models is None else models.penalty),
        vectors=judges.prototypes.vectors, counts=judges.prototypes.counts,
        present=judges.prototypes.present, held_rows=held.rows, held_classes=held.classes,
        held_cosines=held.cosines, held_classifier=_or_none(held.classifier),
        transition=np.empty((0, 0)) if fit is None else fit.channel.transition,
        temperature=np.array(np.nan if fit is None else fit.channel.temperature),
    )  # fmt: skip


def read_judges(path: Path, class_texts: NDArray[np.float32] | None) -> Judges:
    """What `write_judges` wrote.

    Args:
        path: Of the file.
        class_texts: Textual prototypes, which are stored elsewhere.
    """
    stored = read_arrays(path)
    models = None
    if stored["weight"].size:
        models = FoldModels(stored["weight"], stored["bias"], float(stored["penalty"]), {})
    prototypes = VisualPrototypes(stored["vectors"], stored["counts"], stored["present"])
    classifier = stored["held_classifier"] if stored["held_classifier"].size else None
    held_out = HeldOut(
        stored["held_rows"], stored["held_classes"], stored["held_cosines"], classifier
    )
    numbers, fit = stored["numbers"].tolist(), None
    if len(stored["transition"]):
        alpha, text_share, tau, text_tau, sharpness, by_text = numbers[2:]
        texts = class_texts if by_text else None
        views = Views(models, prototypes, texts, alpha, text_share, tau, text_tau, sharpness)
        fit = ChannelFit(views, NoiseChannel(stored["transition"], float(stored["temperature"])))
    mix = MixSettings(*numbers[:2])
    return Judges(models, stored["fold"], prototypes, mix, held_out, fit)


def packed(calibration: Calibration) -> NDArray[np.str_]:
    """A calibration as an array of one text."""
    return np.array(json.dumps(calibration.as_settings()))


def unpacked(text: NDArray[Any]) -> Calibration:
    """What `packed` made."""
    values = json.loads(str(text))
    values["fallbacks"] = tuple(values["fallbacks"])
    if values["curve"] is not None:
        values["curve"] = Curve(*(np.array(part) for part in values["curve"]))
    return Calibration(**values)


def _or_none(array: NDArray[Any] | None) -> NDArray[Any]:
    return np.empty(0, np.float32) if array is None else array
