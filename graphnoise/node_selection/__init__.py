"""Which nodes to ask about, by name. A new selector is one file and one line here."""

from labelnoise.registry import Entry, Registry

_HERE = "graphnoise.node_selection"
SELECTORS = Registry(
    "selector",
    {
        "medoids": Entry(
            f"{_HERE}.medoids:Medoids",
            "one node per cluster of propagated features (FeatProp)",
            "Wu et al., arXiv 1910.07567",
        ),
        "random": Entry(f"{_HERE}.random_nodes:RandomNodes", "nodes drawn at random", "baseline"),
        "degree": Entry(
            f"{_HERE}.degree:Degree", "largest sum of edge weights", "LLM-GNN, arXiv 2310.04668"
        ),
        "pagerank": Entry(
            f"{_HERE}.pagerank:PageRank", "largest PageRank", "LLM-GNN, arXiv 2310.04668"
        ),
        "density": Entry(
            f"{_HERE}.density:Density",
            "nearest to the centre of a cluster of texts",
            "AGE, arXiv 1705.05085",
        ),
        "subspace": Entry(
            f"{_HERE}.subspace:Subspace",
            "nearest to cluster centres among leading singular vectors, a quota per cluster",
            "Locle, arXiv 2412.11983",
        ),
        "graphpart": Entry(
            f"{_HERE}.graphpart:GraphPart",
            "medoids of each community, in proportion to its size",
            "GraphPart, Ma et al., TMLR 2023",
        ),
        "reliable_influence": Entry(
            f"{_HERE}.reliable_influence:ReliableInfluence",
            "greedy cover of the graph by what trustworthy labels reach",
            "RIM, Zhang et al., NeurIPS 2021",
        ),
        "difficulty_aware": Entry(
            f"{_HERE}.difficulty_aware:DifficultyAware",
            "percentiles of density and PageRank, and of entropy in later rounds",
            "LLM-GNN, arXiv 2310.04668; AGE, arXiv 1705.05085",
        ),
        "disharmonicity_entropy": Entry(
            f"{_HERE}.disharmonicity_entropy:DisharmonicityEntropy",
            "unsure and at odds with the neighbours; later rounds",
            "Locle, arXiv 2412.11983",
        ),
        "informative_and_correct": Entry(
            f"{_HERE}.informative_and_correct:InformativeAndCorrect",
            "drawn for the best gain when the teacher errs where it hurts most; later rounds",
            "Robust Active Distillation, arXiv 2210.01213",
        ),
        "disagreement": Entry(
            f"{_HERE}.disagreement:Disagreement",
            "medoids, dense where the zero-shot prior and the model differ; later rounds",
            "ours",
        ),
    },
)
