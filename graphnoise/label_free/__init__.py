"""Recipes that turn a budget of LLM answers into a node classifier, by name.

A new recipe is one file and one line here.
"""

from labelnoise.registry import Entry, Registry

RECIPES = Registry(
    "recipe",
    {
        "locle": Entry(
            "graphnoise.label_free.locle:Locle",
            "stages of GCN training, confident and critical nodes, labels corrected on a rewired"
            " graph",
            "Locle, SIGIR 2025, with the defects of its released code corrected",
        ),
    },
)
