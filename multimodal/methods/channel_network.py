"""Channel network: what small networks see in the images, joined with how labels go wrong."""

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from labelnoise.audit import LabelAudit
from labelnoise.decide import CALIBRATED_RULE, REASONS, DecisionRule, decide
from multimodal.channel_networks import NetworkSettings, fit_channel_networks
from multimodal.embedded import EmbeddedCorpus
from multimodal.methods.base import Progress, silent
from multimodal.probe import stratified_folds

__all__ = ["REASONS", "ChannelNetwork"]


@dataclass(frozen=True)
class ChannelNetwork:
    """Judge labels by networks that learn behind an estimated noise channel, out of fold.

    For corpora whose labels are mostly right class by class: where most labels of a class are
    wrong in one way, images alone cannot tell; let texts choose (`capro`).

    Attributes:
        networks: See `multimodal.channel_networks.NetworkSettings`.
        rule: Thresholds on the posterior of the true class; see `labelnoise.decide.DecisionRule`.

    Source: ours, of known parts: forward correction (Patrini et al., CVPR 2017) with the channel of
    `labelnoise.noise_channel`, then soft co-refinement of the labels in the manner of DivideMix
    (ICLR 2020), all out of fold.
    """

    name: ClassVar[str] = "channel_network"
    needs: ClassVar[tuple[str, ...]] = ("image",)

    networks: NetworkSettings = field(default_factory=NetworkSettings)
    rule: DecisionRule = CALIBRATED_RULE

    def judge(
        self, corpus: EmbeddedCorpus, *, seed: int = 0, progress: Progress = silent
    ) -> LabelAudit:
        """See `multimodal.methods.base.CleaningMethod`; evidence as `labelnoise.decide.decide`.

        Raises:
            ValueError: The corpus has no image rows.
        """
        corpus.needed(*self.needs, by=self.name)
        assert corpus.image is not None  # needed
        folds = stratified_folds(
            corpus.given, self.networks.n_folds, ids=corpus.ids.tolist(), seed=seed
        )
        fitted = fit_channel_networks(
            corpus.image, corpus.given, corpus.n_classes, folds=folds, settings=self.networks,
            seed=seed, progress=lambda share: progress("networks trained", share),
        )  # fmt: skip
        settings: dict[str, Any] = {"networks": asdict(self.networks)}
        audits = []
        for start, view in fitted.blocks():
            rows = slice(start, start + len(view))
            audits.append(
                decide(
                    {"networks": view},
                    corpus.given[rows],
                    ids=corpus.ids[rows],
                    class_names=corpus.class_names,
                    method=self.name,
                    settings=settings,
                    seed=seed,
                    rule=self.rule,
                    channel=fitted.channel,
                )
            )
        return LabelAudit.merge(audits)
