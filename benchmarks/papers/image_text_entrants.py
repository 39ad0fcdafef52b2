"""Who takes part in the image-text cleaning study: every method, and CAPro without its parts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from multimodal.embedded import EmbeddedCorpus
from multimodal.methods import CLEANING_METHODS

# nothing in them is drawn: one seed says all
UNDRAWN = ("neighbour_vote", "near_duplicates")
# minutes on 20,000 rows
SLOW = ("channel_network", "ensemble")


@dataclass(frozen=True)
class Entrant:
    """A method with settings.

    Attributes:
        make: The method; imported and built when it is run.
        what: What differs from the method's defaults, for the table; "" for the defaults.
        draws: Whether a seed changes anything.
        slow: Whether large corpora see it with one seed only.
    """

    make: Callable[[], Any]
    what: str = ""
    draws: bool = True
    slow: bool = False


def _default(name: str) -> Any:
    return CLEANING_METHODS.load(name)()


def _capro(**settings: Any) -> Any:
    from multimodal.methods.capro import Capro

    return Capro(**settings)


def _paper() -> Any:
    from multimodal.methods.capro import capro_paper

    return capro_paper()


def _plain_smoothing() -> Any:
    from multimodal.neighbour_text import GraphSettings, TextSettings

    return _capro(graph=GraphSettings(kept=5), text=TextSettings(own_text_weight=0.0))


def _prototypes_only() -> Any:
    from multimodal.calibration import CalibrationSettings
    from multimodal.clean_core import CoreSettings
    from multimodal.verdicts import LadderSettings

    return _capro(
        core=CoreSettings(selector="all"), calibration=CalibrationSettings(alpha=0.0),
        ladder=LadderSettings(protect_core=False),
    )  # fmt: skip


def _matched_core() -> Any:
    from multimodal.clean_core import CoreSettings

    return _capro(core=CoreSettings(ranked_by="matching"))


def _pair_score(score: str) -> Any:
    from multimodal.methods.pair_score import PairScore

    return PairScore(score=score)


def _last_layer() -> Any:
    from multimodal.methods.linear_separation import LinearSeparation

    return LinearSeparation(last_layer=True)


ABLATIONS = {
    "capro_raw_text": Entrant(
        partial(_capro, smooth=False), "raw text: every text speaks for itself"
    ),
    "capro_plain_smoothing": Entrant(
        _plain_smoothing, "VSGraph's smoothing: 5 neighbours, the own text replaced"
    ),
    "capro_prototypes_only": Entrant(
        _prototypes_only, "prototypes only: of all given labels, no texts, no classifier"
    ),
    "capro_matched_core": Entrant(
        _matched_core, "core picked by the own class's text alone, as in the paper"
    ),
    "capro_core_calibrated": Entrant(
        partial(_capro, calibrated_by="core"), "calibrated on held-out core members alone"
    ),
    "capro_paper": Entrant(_paper, "as released with the paper, over frozen embeddings"),
}
VARIANTS = {
    "pair_score_plain": Entrant(partial(_pair_score, "plain"), "plain cosine"),
    "pair_score_neg_clip_loss": Entrant(partial(_pair_score, "neg_clip_loss"), "negCLIPLoss"),
    "linear_separation_last_layer": Entrant(
        _last_layer, "separates the last layer, which is not LSA"
    ),
}


def entrants() -> dict[str, Entrant]:
    """Name -> entrant: the registered methods in their order, variants, CAPro's ablations."""
    registered = {
        name: Entrant(partial(_default, name), draws=name not in UNDRAWN, slow=name in SLOW)
        for name in CLEANING_METHODS
    }
    return {**registered, **VARIANTS, **ABLATIONS}


def why_not(method: Any, corpus: EmbeddedCorpus) -> str | None:
    """Why a method cannot judge a corpus, in its own words; None: it can."""
    from multimodal.pair_decisions import PairCut

    try:
        corpus.needed(*method.needs, by=method.name)
    except ValueError as error:
        return str(error)
    if not corpus.class_names and not isinstance(method, PairCut):
        return f"{method.name} judges labels, these pairs have none"
    if method.name == "capro_multi_label" and corpus.given_sets is None:
        return f"{method.name} judges several labels per pair, these have one"
    return None
