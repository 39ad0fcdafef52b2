"""Cleaning methods for image-text corpora, by name. A new one is one file and one line here."""

from labelnoise.registry import Entry, Registry

CLEANING_METHODS = Registry(
    "method",
    {
        "capro": Entry(
            "multimodal.methods.capro:Capro",
            "cross-modal prototypes: texts pick clean images, their prototypes judge the rest",
            "CAPro, NeurIPS 2023",
        ),
        "capro_paper": Entry(
            "multimodal.methods.capro:capro_paper",
            "CAPro as its code was released, over frozen embeddings",
            "CAPro, NeurIPS 2023",
        ),
        "capro_multi_label": Entry(
            "multimodal.methods.capro_multi_label:CaproMultiLabel",
            "CAPro for pairs with several labels, each judged by itself",
            "CAPro, NeurIPS 2023",
        ),
        "channel_network": Entry(
            "multimodal.methods.channel_network:ChannelNetwork",
            "small networks behind an estimated noise channel, corrected softly, out of fold",
            "ours, after forward correction, CVPR 2017, and DivideMix, ICLR 2020",
        ),
        "pair_score": Entry(
            "multimodal.methods.pair_score:PairScore",
            "similarity of image and text in one aligned space: plain, centred or negCLIPLoss",
            "DataComp, NeurIPS 2023; negCLIPLoss, NeurIPS 2024",
        ),
        "mapped_pair_score": Entry(
            "multimodal.methods.mapped_pair_score:MappedPairScore",
            "the pair score for encoders that share no space, over a ridge map fitted out of fold",
            "none: our own design",
        ),
        "neighbour_vote": Entry(
            "multimodal.methods.neighbour_vote:NeighbourVote",
            "votes of the nearest images' labels, each class by its share",
            "SSR, BMVC 2022",
        ),
        "clip_cleaner": Entry(
            "multimodal.methods.clip_cleaner:ClipCleaner",
            "zero-shot texts and a linear probe must both find the label likely, by two rules",
            "CLIPCleaner, ACM MM 2024",
        ),
        "confident_learning": Entry(
            "multimodal.methods.confident_learning:ConfidentLearning",
            "counts of confident other classes under a linear probe, out of fold",
            "Northcutt, Jiang & Chuang, JAIR 2021",
        ),
        "soft_correspondence": Entry(
            "multimodal.methods.soft_correspondence:SoftCorrespondence",
            "a pair must sit alike among trusted pairs in both spaces; they need not be aligned",
            "BiCro, CVPR 2023",
        ),
        "cpc": Entry(
            "multimodal.methods.cpc:ClassPrototypes",
            "CPC-style: a prototype per class learns which labels a mixture on the losses trusts",
            "after the abstract of CPC, arXiv 2212.10766",
        ),
        "linear_separation": Entry(
            "multimodal.methods.linear_separation:LinearSeparation",
            "losses and a linear separator of early-layer features find noise in turns",
            "LSA, ECCV 2024, with PLS, WACV 2023",
        ),
        "ensemble": Entry(
            "multimodal.methods.ensemble:Ensemble",
            "several methods judge; their agreement says how far each can be trusted",
            "ours, after Dawid & Skene, Applied Statistics 1979",
        ),
        "near_duplicates": Entry(
            "multimodal.methods.near_duplicates:NearDuplicates",
            "of each group of images that are nearly the same one stays",
            "SemDeDup, 2023, re-derived",
        ),
    },
)
