"""The steps of a cleaning run, each with exactly the settings that decide its result."""

from collections.abc import Iterable
from dataclasses import replace

from multimodal.engine.job import CleaningJob, plain_settings
from multimodal.engine.steps import Step

PACKAGE = "multimodal.engine"


def cleaning_steps(job: CleaningJob) -> tuple[Step, ...]:
    """From records to tables.

    ingest -> records, [embed-text] -> layout (barrier), [class-texts] -> the method -> table.

    A method with a function ``steps() -> tuple[Step, ...] | None`` brings its own, which come after
    "layout"; the last of them leaves `judge.AUDIT` per shard, and `judge.NEIGHBOURS` if it has
    them. What decides their results is said by each (`Step.from_job`). Any other is one step,
    "judge".
    """
    before = (*_reading_steps(job), *_text_steps(job))
    own = getattr(job.method, "steps", lambda: None)()
    judging = tuple(_completed(own, before, job)) if own else (_judge_step(job),)
    last = judging[-1].name
    table = Step(
        "table", f"{PACKAGE}.table:table", after=("records", "layout", last),
        settings={"judged_by": last}, public=True,
    )  # fmt: skip
    return (*before, *judging, table)


def _reading_steps(job: CleaningJob) -> tuple[Step, ...]:
    in_ingest = [role for role in job.encoders if role != "text" or job.looks_up("text")]
    ingest = Step(
        "ingest",
        f"{PACKAGE}.ingest:ingest",
        settings={
            "encoders": {role: job.identity(role) for role in in_ingest},
            "limits": plain_settings(job.limits),
            "hygiene": None if job.hygiene is None else plain_settings(job.hygiene),
        },
    )
    records = Step(
        "records",
        f"{PACKAGE}.records:records",
        after=("ingest",),
        settings={
            "classes": job.classes_digest("names", "synonyms"),
            "labels_from_text": job.labels_from_text,
            "cleaning": plain_settings(job.cleaning),
        },
    )
    return ingest, records


def _text_steps(job: CleaningJob) -> tuple[Step, ...]:
    vectors: tuple[str, ...] = ("ingest", "records")
    made: list[Step] = []
    if job.encodes("text"):
        spec = {"encoder": job.identity("text")}
        made.append(
            Step(
                "embed-text", f"{PACKAGE}.embed_text:embed_text", after=("ingest",),
                settings={**spec, "cleaning": plain_settings(job.cleaning)},
            )
        )  # fmt: skip
        vectors = (*vectors, "embed-text")
    made.append(
        Step(
            "layout", f"{PACKAGE}.layout:layout", "once", vectors,
            {"max_bad_share": job.max_bad_share},
        )
    )  # fmt: skip
    if job.encodes("text"):
        made.append(
            Step(
                "class-texts", f"{PACKAGE}.embed_text:class_texts", "once",
                settings={
                    **spec, "class_text": job.class_text, "classes": job.classes_digest("texts")
                },
            )
        )  # fmt: skip
    return tuple(made)


def _judge_step(job: CleaningJob) -> Step:
    after = ("layout", "class-texts") if job.encodes("text") else ("layout",)
    return Step("judge", f"{PACKAGE}.judge:judge", "once", after, _method_settings(job))


def _completed(own: Iterable[Step], before: Iterable[Step], job: CleaningJob) -> Iterable[Step]:
    """A method's steps with what every one of them depends on."""
    there, of_job = {step.name for step in before}, _method_settings(job)
    for step in own:
        there.add(step.name)
        after = dict.fromkeys(("layout", *step.after))
        yield replace(
            step,
            # without texts there is no step for those of the classes
            after=tuple(name for name in after if name in there or name != "class-texts"),
            settings={**step.settings, **{name: of_job[name] for name in step.from_job}},
        )


def _method_settings(job: CleaningJob) -> dict[str, object]:
    return {
        "method": job.method_settings(),
        "seed": job.seed,
        "classes": job.classes_digest("names"),
    }
