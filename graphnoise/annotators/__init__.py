"""Who labels texts, by name. A new annotator is one file and one line here."""

from labelnoise.registry import Entry, Registry

# `graphnoise.annotators.choosing.make_annotator` calls TARGET.from_spec(spec, options, graph) with
# an `AnnotatorSpec`, `AnnotatorOptions` and a `TextGraph` or None
ANNOTATORS = Registry(
    "annotator",
    {
        "openai": Entry(
            "graphnoise.annotators.endpoint:EndpointAnnotator",
            "any OpenAI-compatible endpoint, asked through the openai client",
            "this project",
        ),
        "systemone": Entry(
            "graphnoise.annotators.systemone:SystemoneAnnotator",
            "class probabilities of `transformers serve` by one forward pass",
            "this project",
        ),
        "local": Entry(
            "graphnoise.annotators.local_model:LocalModelAnnotator",
            "a causal language model in this process, by the logits of the classes",
            "this project",
        ),
        "embedding": Entry(
            "graphnoise.annotators.zero_shot:ZeroShotAnnotator",
            "similarity of embedded texts to embedded class descriptions; no LLM, no cost",
            "this project",
        ),
        "replay": Entry(
            "graphnoise.annotators.replay:ReplayAnnotator",
            "recorded answers from a file, counted like real ones",
            "this project",
        ),
        "simulated": Entry(
            "graphnoise.annotators.simulated:SimulatedAnnotator",
            "answers drawn with an LLM's regional and class-dependent errors",
            "this project",
        ),
        "combined": Entry(
            "graphnoise.annotators.combined:CombinedAnnotator",
            "several annotators, their votes weighed by where they agree",
            "Dawid and Skene, 1979",
        ),
    },
)
