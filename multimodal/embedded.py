"""A corpus as the methods see it: vectors, given labels and classes. No images, no files."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal.rows import Rows


@dataclass(frozen=True, eq=False)
class EmbeddedCorpus:
    """N image-text pairs that can be judged; rows refused while reading are not among them.

    Attributes:
        ids: ``[N]`` text, unique.
        given: Given class ``[N]`` int64, -1 for none.
        class_names: K names.
        image: Unit rows ``[N, D]`` of the images, or None.
        text: Unit rows ``[N, E]`` of the texts, a row of zeros where there is no text; or None.
        class_texts: Textual prototypes ``[K, E]``: unit rows in the space of `text`, a row of
            zeros for a class without text; or None.
        aligned: Whether rows of `image` may be compared with rows of `text` (one model's towers).
        early: Unit rows ``[N, F]`` of an early layer of the image model, or None.
        given_sets: For multi-label corpora, K-hot given labels as (offsets ``[N + 1]`` int64,
            classes int64); None where each pair has at most one label, then `given` holds it.
    """

    ids: NDArray[np.str_]
    given: NDArray[np.int64]
    class_names: tuple[str, ...]
    image: Rows | None = None
    text: Rows | None = None
    class_texts: NDArray[np.float32] | None = None
    aligned: bool = False
    early: Rows | None = None
    given_sets: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    def __post_init__(self) -> None:
        for name in ("given", "image", "text", "early"):
            part = getattr(self, name)
            if part is not None and len(part) != len(self.ids):
                raise ValueError(f"{name} must have {len(self.ids)} rows like ids, got {len(part)}")
        if len(self.given) and not -1 <= self.given.min() <= self.given.max() < self.n_classes:
            raise ValueError(f"given must lie in -1 .. {self.n_classes - 1}")
        if self.class_texts is not None and self.text is not None:
            wanted = (self.n_classes, self.text.shape[1])
            if self.class_texts.shape != wanted:
                raise ValueError(
                    f"class_texts must be {list(wanted)}, got {list(self.class_texts.shape)}"
                )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.class_names)

    def needed(self, *names: str, by: str) -> None:
        """Check that parts are there before work starts.

        Raises:
            ValueError: One is missing; names it, and `by` who needs it.
        """
        for name in names:
            if name == "aligned":
                if not self.aligned:
                    raise ValueError(
                        f"{by} needs image and text rows of one aligned model (such as the two"
                        " towers of CLIP); these come from different ones"
                    )
            elif getattr(self, name) is None:
                raise ValueError(f"{by} needs {name} rows, this corpus has none")
