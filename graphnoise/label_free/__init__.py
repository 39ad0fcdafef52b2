"""Recipes that turn a budget of LLM answers into a node classifier, by name.

A new recipe is one file and one line here.
"""

from labelnoise.registry import Entry, Registry

RECIPES = Registry(
    "recipe",
    {
        "second_opinion": Entry(
            "graphnoise.label_free.second_opinion:SecondOpinion",
            "learns from nodes where answers around and class descriptions agree",
            "ours",
        ),
        "bought_labels": Entry(
            "graphnoise.label_free.bought_labels:BoughtLabels",
            "GCN on the bought labels, without those the prior finds least likely",
            "filtered FeatProp of LLM-GNN, ICLR 2024",
        ),
        "imprecise_labels": Entry(
            "graphnoise.label_free.imprecise_labels:ImpreciseLabels",
            "EM over the candidates of ranked answers, a GCN as the model",
            "Imprecise Label Learning, NeurIPS 2024",
        ),
        "locle": Entry(
            "graphnoise.label_free.locle:Locle",
            "stages of GCN training, confident and critical nodes, labels corrected on a rewired"
            " graph",
            "Locle, SIGIR 2025, with the defects of its released code corrected",
        ),
    },
)
