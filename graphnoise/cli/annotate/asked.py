"""The options that `plan` and `run` share."""

from pathlib import Path
from typing import Annotated

import typer

Graph = Annotated[
    str, typer.Argument(help="Name of a data set, or a folder, .npz or .safetensors with texts.")
]
Llm = Annotated[
    str,
    typer.Option(
        help="openai:MODEL@URL, systemone:MODEL@URL, local:FOLDER, embedding:minilm, replay:FILE,"
        " or a URL with --model."
    ),
]
Budget = Annotated[
    list[str],
    typer.Option(help="Calls such as 200; repeat it for '$0.50', '50k tokens', '30min'."),
]
Classes = Annotated[
    Path | None,
    typer.Option(help="Names and definitions: .txt, .csv, .json, .yaml; else the data set's own."),
]
Recipe = Annotated[str | None, typer.Option(help="See `graphnoise methods`.")]
Selector = Annotated[
    str | None, typer.Option(help="Who chooses the nodes, where the recipe lets it be chosen.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="A setting of the recipe, as name=value.")
]
Seed = Annotated[int, typer.Option(help="Of every random step.")]
TextEncoder = Annotated[
    str, typer.Option(help="Embeds the texts; none takes the graph's own features.")
]
ClassScores = Annotated[
    Path | None,
    typer.Option(
        help="Scores [N, K] of every node as .npz, in place of encoded texts and classes."
    ),
]
Model = Annotated[str | None, typer.Option(help="Where --llm is only an address.")]
Prompt = Annotated[
    str, typer.Option(help="zero_shot, top_k, few_shot, with_neighbours, or a template file.")
]
FewShot = Annotated[Path | None, typer.Option(help="File of examples shown with each question.")]
Neighbours = Annotated[int, typer.Option(help="Titles of neighbours shown with each question.")]
Samples = Annotated[int, typer.Option(help="Answers per question.")]
Temperature = Annotated[float, typer.Option(help="Of sampling.")]
MaxTokens = Annotated[int | None, typer.Option(help="Of one answer.")]
Repair = Annotated[
    bool, typer.Option("--repair/--no-repair", help="Ask again where a reply names no class.")
]
Concurrency = Annotated[int | None, typer.Option(help="Requests in flight at most.")]
RequestsPerMinute = Annotated[int | None, typer.Option(help="At most.")]
TokensPerMinute = Annotated[int | None, typer.Option(help="At most.")]
Timeout = Annotated[float | None, typer.Option(help="Seconds until a request counts as failed.")]
KeyVariable = Annotated[
    str | None, typer.Option("--api-key-env", help="Name of the variable that holds the key.")
]
Cache = Annotated[
    Path | None,
    typer.Option(help="File of answers shared by several runs; else one in the run's folder."),
]
Prices = Annotated[Path | None, typer.Option(help="YAML or JSON that overrides our prices.")]
Tokenizer = Annotated[
    str | None, typer.Option(help="Name or folder; counts tokens exactly before they are sent.")
]
Device = Annotated[str | None, typer.Option(help="cpu or cuda, of models in this process.")]
Root = Annotated[Path | None, typer.Option(help="Folder of the data sets.")]
