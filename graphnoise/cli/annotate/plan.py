"""``graphnoise annotate plan``: what a run will ask and cost, before anything is sent."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graphnoise.cli.annotate import asked
from labelnoise.console import facts, friendly_errors, output
from labelnoise.visible_text import visible

if TYPE_CHECKING:
    from graphnoise.cli.annotate.work import Prepared


@friendly_errors
def plan(
    graph: asked.Graph,
    llm: asked.Llm,
    budget: asked.Budget,
    classes: asked.Classes = None,
    recipe: asked.Recipe = None,
    selector: asked.Selector = None,
    settings: asked.Settings = None,
    seed: asked.Seed = 0,
    text_encoder: asked.TextEncoder = "minilm",
    class_scores: asked.ClassScores = None,
    model: asked.Model = None,
    prompt: asked.Prompt = "zero_shot",
    few_shot: asked.FewShot = None,
    neighbours: asked.Neighbours = 0,
    samples: asked.Samples = 1,
    temperature: asked.Temperature = 0.0,
    max_tokens: asked.MaxTokens = None,
    repair: asked.Repair = True,
    concurrency: asked.Concurrency = None,
    requests_per_minute: asked.RequestsPerMinute = None,
    tokens_per_minute: asked.TokensPerMinute = None,
    cache: asked.Cache = None,
    prices: asked.Prices = None,
    tokenizer: asked.Tokenizer = None,
    device: asked.Device = None,
    root: asked.Root = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the run, for answers it has.")
    ] = None,
) -> None:
    """Tell nodes, calls, tokens, price and time, and show one complete prompt. Nothing is sent."""
    from graphnoise.cli.annotate import work
    from graphnoise.cli.annotate.job import AnnotationJob, Question, Service
    from graphnoise.cli.annotate.places import ANSWERS

    if cache is None and out is not None and (out / ANSWERS).is_file():
        cache = out / ANSWERS
    job = AnnotationJob(
        graph, llm, classes, recipe, selector, tuple(settings or ()), seed, text_encoder,
        class_scores,
        Question(model, prompt, few_shot, neighbours, samples, temperature, max_tokens, repair),
    )  # fmt: skip
    service = Service(
        concurrency, requests_per_minute, tokens_per_minute, cache=cache, prices=prices,
        tokenizer=tokenizer, device=device,
    )  # fmt: skip
    print_plan(work.prepare(job, service, work.read_budget(budget), root=root))


def print_plan(prepared: "Prepared") -> None:
    """Print what asking would cost, and one prompt."""
    from graphnoise.annotators.budget import unkept_cap

    found, say = prepared.classifier.plan(prepared.graph), output()
    say.print(facts("", [("budget", prepared.budget.describe()), *found.rows()]))
    cap = prepared.budget.money
    if cap is not None and found.estimate.usage.money is None:
        # a run would refuse it, and a plan is there to tell beforehand
        say.print(f"\n{unkept_cap(cap)}")
    if found.estimate.sample_prompt:
        say.print("\none prompt as it would be sent\n")
        say.print(visible(found.estimate.sample_prompt))


def print_prompts(prepared: "Prepared", count: int) -> None:
    """Print the exact prompts of the first nodes, each with its tokens."""
    found, say = prepared.classifier.plan(prepared.graph), output()
    questions = prepared.questions(found.first_nodes[:count])
    for row, node in enumerate(questions.nodes):
        one = prepared.annotator.estimate(questions.part([row]))
        name = visible(str(prepared.graph.ids[node]))
        say.print(f"node {name}: {one.usage.prompt_tokens} prompt tokens\n")
        say.print(visible(one.sample_prompt) or "nothing is sent for it")
        say.print()
    if found.estimate.exact:
        say.print(found.estimate.exact)
    left = len(found.first_nodes) - len(questions)
    if left > 0:
        say.print(f"{left} more nodes are asked at once; --dry-run sends nothing")
