"""Which nodes to ask about, by name. A new selector is one file and one line here."""

from labelnoise.registry import Entry, Registry

SELECTORS = Registry(
    "selector",
    {
        "medoids": Entry(
            "graphnoise.node_selection.medoids:Medoids",
            "one node per cluster of propagated features (FeatProp)",
            "Wu et al., arXiv 1910.07567",
        ),
    },
)
