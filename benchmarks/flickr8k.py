"""Flickr8k from its original files: captions, people's verdicts on pairs, CLIP pairs, features."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class FlickrJudgments:
    """People's verdicts on image-caption pairs.

    Attributes:
        image: File name of the image ``[M]``.
        caption: Id of the caption ``[M]``, as ``FILE#NUMBER`` of the image it was written for.
        accepted: Share of people who said that the caption describes the image ``[M]``.
    """

    image: NDArray[np.str_]
    caption: NDArray[np.str_]
    accepted: NDArray[np.float64]

    @property
    def own(self) -> NDArray[np.bool_]:
        """Whether the caption was written for the image ``[M]``."""
        written_for = np.array([one.partition("#")[0] for one in self.caption.tolist()])
        return written_for == self.image

    @property
    def match(self) -> NDArray[np.bool_]:
        """Whether most people accepted the pair ``[M]``."""
        return self.accepted > 0.5


def read_flickr_judgments(folder: Path) -> FlickrJudgments:
    """``CrowdFlowerAnnotations.txt``; damaged lines are left out, and pairs judged twice."""
    pairs: dict[tuple[str, str], float] = {}
    text = (folder / "CrowdFlowerAnnotations.txt").read_text(encoding="latin-1")
    for line in text.split("\n"):
        fields = line.rstrip("\r").split("\t")
        if len(fields) != 5 or not _is_pair(fields[0], fields[1]):
            continue
        try:
            pairs.setdefault((fields[0], fields[1]), float(fields[2]))
        except ValueError:
            continue
    images, captions = zip(*pairs, strict=True)
    return FlickrJudgments(np.array(images), np.array(captions), np.array(list(pairs.values())))


def _is_pair(image: str, caption: str) -> bool:
    written_for, mark, number = caption.partition("#")
    return image.endswith(".jpg") and written_for.endswith(".jpg") and bool(mark and number)


def read_flickr_captions(folder: Path) -> dict[str, str]:
    """Caption by its id ``FILE#NUMBER``."""
    captions = {}
    for line in (folder / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines():
        # some lines have a blank where a tab should be
        name, _, caption = line.replace("\t", " ", 1).partition(" ")
        if caption.strip():
            captions[name] = caption.strip()
    return captions


def read_flickr_features(folder: Path, quantisation: Path) -> tuple[list[str], NDArray[np.float32]]:
    """File names and MobileNetV2 features ``[8091, 1280]`` as unit rows.

    Args:
        folder: The Flickr8k folder.
        quantisation: ``quant.json`` of the MobileNetV2 folder.
    """
    names = json.loads((folder / "mobilenetv2_ids.json").read_text())
    constants = json.loads(quantisation.read_text())
    raw = np.load(folder / "mobilenetv2_int8.npy", allow_pickle=False).astype(np.float32)
    rows = (raw - constants["zero_point"]) * np.float32(constants["scale"])
    return names, rows / np.linalg.norm(rows, axis=1, keepdims=True)


def read_clip_pairs(
    folder: Path,
) -> tuple[NDArray[np.str_], NDArray[np.float32], NDArray[np.float32]]:
    """Image of each pair ``[500]``, and CLIP ViT-B/32 rows ``[500, 512]`` of images and captions.

    Five captions each of 100 images, so that image rows repeat.
    """
    with (folder / "clip_pairs/metadata.csv").open(newline="", encoding="utf-8") as file:
        names = np.array([row["image_id"] for row in csv.DictReader(file)])
    rows = [
        np.load(folder / f"clip_pairs/{side}_embeddings.npy", allow_pickle=False)
        for side in ("image", "text")
    ]
    return names, rows[0].astype(np.float32), rows[1].astype(np.float32)
