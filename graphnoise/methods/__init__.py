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
        "prototype_mixture": Entry(
            "graphnoise.methods.prototype_mixture:PrototypeMixtureClassifier",
            "refined prototypes of smoothed spectral features with an estimated noise channel",
            "ours, after ERASE and Dawid and Skene (1979)",
        ),
        "adaptive_mixture": Entry(
            "graphnoise.methods.adaptive_mixture:AdaptiveMixture",
            "prototype mixture or graph attention, whichever noisy validation trusts",
            "ours",
        ),
        "ppr_class_means": Entry(
            "graphnoise.methods.ppr_class_means:PPRClassMeans",
            "nearest class mean of PPR-smoothed features, untrained",
            "smoothing: Predict then Propagate, ICLR 2019",
        ),
        "gcn": Entry(
            "graphnoise.methods.neural:GraphNetwork",
            "graph convolutions with cross entropy",
            "GCN, ICLR 2017",
        ),
        "gat": Entry(
            "graphnoise.methods.neural:GraphAttentionNetwork",
            "graph attention with cross entropy",
            "GAT, ICLR 2018",
        ),
        "gcn_forward": Entry(
            "graphnoise.methods.neural:GCNForward",
            "GCN with forward correction by an estimated transition matrix",
            "Patrini et al., CVPR 2017",
        ),
        "gcn_sce": Entry(
            "graphnoise.methods.neural:GCNSymmetric",
            "GCN with symmetric cross entropy",
            "SCE, ICCV 2019",
        ),
        "gcn_gce": Entry(
            "graphnoise.methods.neural:GCNGeneralised",
            "GCN with generalised cross entropy",
            "GCE, NeurIPS 2018",
        ),
        "gcn_elr": Entry(
            "graphnoise.methods.neural:GCNEarlyLearning",
            "GCN with early-learning regularisation",
            "ELR, NeurIPS 2020",
        ),
        "co_teaching": Entry(
            "graphnoise.methods.co_teaching:CoTeaching",
            "two GCNs that pick small-loss labels for each other",
            "Co-teaching, NeurIPS 2018",
        ),
        "label_propagation": Entry(
            "graphnoise.methods.label_propagation:LabelPropagation",
            "given labels spread along edges, untrained",
            "Zhou et al., NeurIPS 2003",
        ),
        "correct_and_smooth": Entry(
            "graphnoise.methods.correct_and_smooth:CorrectAndSmooth",
            "MLP repaired by propagated errors and labels",
            "C&S, ICLR 2021",
        ),
    },
)
