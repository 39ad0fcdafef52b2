"""Node classifiers for noisy labels, by name. A new method is one file and one line here."""

from labelnoise.registry import Entry, Registry

METHODS = Registry(
    "method",
    {
        "erase": Entry(
            "graphnoise.methods.erase:Erase",
            "coding-rate representations with prototype pseudo-labels",
            "ERASE, CIKM 2024",
        ),
        "ppr_class_means": Entry(
            "graphnoise.methods.ppr_class_means:PPRClassMeans",
            "nearest class mean of PPR-smoothed features, untrained",
            "smoothing: Predict then Propagate, ICLR 2019",
        ),
    },
)
