"""``graphnoise annotate run``: ask within the budget, train, judge every node's label."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphnoise.cli.annotate import asked
from labelnoise.console import facts, friendly_errors, output

if TYPE_CHECKING:
    from graphnoise.cli.annotate.job import AnnotationJob, Service
    from graphnoise.cli.folder import RunFolder

# prompts that --dry-run prints
SHOWN = 3


@friendly_errors
def run(
    graph: asked.Graph,
    llm: asked.Llm,
    budget: asked.Budget,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the results; one run each.")
    ] = None,
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
    timeout: asked.Timeout = None,
    api_key_env: asked.KeyVariable = None,
    cache: asked.Cache = None,
    prices: asked.Prices = None,
    tokenizer: asked.Tokenizer = None,
    device: asked.Device = None,
    root: asked.Root = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the first prompts; send and write nothing.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace another run in the folder; paid answers stay."),
    ] = False,
) -> None:
    """Ask about the nodes worth asking, train a classifier, and judge every node's label.

    The same command again does nothing once it is done, resumes where it was killed and pays for
    no answer twice; with a larger budget it goes on.
    """
    from graphnoise.cli.annotate.job import AnnotationJob, Question, Service

    job = AnnotationJob(
        graph, llm, classes, recipe, selector, tuple(settings or ()), seed, text_encoder,
        class_scores,
        Question(model, prompt, few_shot, neighbours, samples, temperature, max_tokens, repair),
    )  # fmt: skip
    service = Service(
        concurrency, requests_per_minute, tokens_per_minute, timeout, api_key_env, cache, prices,
        tokenizer, device,
    )  # fmt: skip
    if dry_run:
        from graphnoise.cli.annotate import work
        from graphnoise.cli.annotate.plan import print_prompts

        print_prompts(work.prepare(job, service, work.read_budget(budget), root=root), SHOWN)
    elif out is None:
        raise ValueError("--out FOLDER is needed: answers that were paid for are kept there")
    else:
        _run(job, service, budget, out=out, root=root, force=force)


def _run(
    job: "AnnotationJob",
    service: "Service",
    budget: list[str],
    *,
    out: Path,
    root: Path | None,
    force: bool,
) -> None:
    from graphnoise.annotators.budget import Budget
    from graphnoise.cli.annotate.places import annotation_folder, read_begun

    wanted, folder = Budget.parse(budget), annotation_folder(out, job.key())
    with folder.locked():
        finished = folder.claim(force=force)
        record = read_begun(out)[0] if finished else {}
        if finished and not larger(wanted, Budget(**record["budget"])):
            _already_done(folder, record)
            return
        from graphnoise.cli.annotate import work

        record = work.run_job(job, service, budget, folder=folder, root=root)
    say = output()
    say.print()
    say.print(facts("", summary_rows(record)))
    say.print(_next_commands(out, record))


def larger(wanted: Any, had: Any) -> bool:
    """Whether any cap of a budget lies above that of another; no cap lies above all."""
    pairs = [(getattr(wanted, name), getattr(had, name)) for name in vars(had)]
    return any(old is not None and (new is None or new > old) for new, old in pairs)


def summary_rows(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the end of a run says, as names and values."""
    from graphnoise.report import annotation_words as words

    answers, origins = record["answers"], record["labels"]["origins"]
    total = (record.get("ledger") or {}).get("total") or record["usage"]
    tokens = total["prompt_tokens"] + total["completion_tokens"]
    rows = [
        ("state", words.STATES[record["status"]]),
        (
            "asked",
            f"{answers['asked']} of {record['data']['nodes']} nodes:"
            f" {answers['answered']} answered, {answers['abstained']} without an answer",
        ),
        ("spent", f"{words.paid(total)}, {tokens:,} tokens, {total['cached']} calls cached"),
        (
            "labels",
            f"{origins['annotator']} as the annotator said, {origins['other_evidence']} changed by"
            f" other evidence, {origins['classifier']} by the classifier, {origins['none']} none",
        ),
    ]
    if answers["believed_right"] is not None:
        rows.append(("answers believed right", f"{100 * answers['believed_right']:.1f} %"))
    scores = record["scores"]
    if scores.get("answers") is not None:
        rows.append(("answers really right", f"{100 * scores['answers']:.1f} %"))
    if scores.get("all") is not None:
        rows.append(("classifier, all nodes", f"{100 * scores['all']:.1f} % right"))
    rows.append(("time", f"{sum(record['seconds'].values()):.1f} s"))
    return rows


def _already_done(folder: "RunFolder", record: Mapping[str, Any]) -> None:
    from graphnoise.report import annotation_words as words

    folder.tidy()
    state = words.STATES[record["status"]]
    output().print(
        f"already done: {folder.path} holds this run ({state}, budget"
        f" {words.budget(record['budget'])}; a larger --budget goes on)"
    )
    if not (folder.path / "report.html").exists():
        from graphnoise.report import graph_report_from_folder

        graph_report_from_folder(folder.path)


def _next_commands(out: Path, record: Mapping[str, Any]) -> str:
    lines = [
        f"\npage     {out / 'report.html'}",
        f"labels   graphnoise annotate export {out} --out labels.csv",
    ]
    if record["worst"] is not None:
        lines.append(f"why      graphnoise explain {out} {record['worst']}")
    if record["status"] == "budget_reached":
        lines.append("more     the same command with a larger --budget")
    return "\n".join(lines)
