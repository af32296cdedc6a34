"""The acts of the demo: corpus, trainings, evaluations, classification, nightly schedule, comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from demo.stage import Stage, StepFailed

CPU_WORKERS = 2
CUTS = (("half", "at 0.5"), ("global", "global"), ("default", "default"))
GOOD_ENDS = ("succeeded", "succeeded_with_quarantine")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large a demo it is to be."""

    documents: int
    new_documents: int
    median_words: int
    seed: int


class Journey:
    """The main job as a team would live it, one act after the other."""

    def __init__(self, stage: Stage, sizes: Sizes) -> None:
        self._stage = stage
        self._sizes = sizes
        self._jobs: dict[str, int] = {}

    def run(self) -> int:
        """Play all acts; 0 only if every job ended as it should."""
        self._add_corpus()
        self._start()
        self._submit()
        self._put_the_better_one_into_production()
        self._score_what_is_new()
        self._show_the_end()
        self._check_every_job()
        return 0

    def _add_corpus(self) -> None:
        self._stage.heading("A corpus of synthetic judicial opinions")
        self._synthesize("opinions.jsonl.gz", documents=self._sizes.documents, seed=self._sizes.seed)
        self._stage.postq("corpus", "add", "opinions", self._stage.path("opinions.jsonl.gz"))
        self._stage.postq("corpus", "show", "opinions")

    def _synthesize(self, name: str, *, documents: int, seed: int) -> None:
        self._stage.postq(
            *("corpus", "synthesize", self._stage.path(name)),
            *("--documents", documents, "--seed", seed, "--median-words", self._sizes.median_words),
        )

    def _start(self) -> None:
        self._stage.heading("Workers, and a small Longformer to train from")
        self._stage.start_workers(CPU_WORKERS)
        backbone = self._stage.path("tiny-longformer")
        self._stage.postq("bundles", "tiny-backbone", backbone, "--corpus", "opinions")

    def _submit(self) -> None:
        self._stage.heading("Two trainings, and what follows each of them")
        backbone = self._stage.path("tiny-longformer")
        submit, job = self._stage.submit, self._jobs
        job["tfidf"] = submit("submit-train", "opinions", "--preset", "tfidf")
        job["longformer"] = submit(
            *("submit-train", "opinions", "--preset", "tiny-longformer", "--backbone", backbone)
        )
        for model in ("tfidf", "longformer"):
            trained = job[model]
            after = ("--bundle", f"job:{trained}", "--after", trained)
            job[f"{model} test"] = submit("submit-eval", "opinions", *after)
            job[f"{model} all"] = submit("classify-corpus", "opinions", *after)
        self._stage.postq("status", "--watch")

    def _put_the_better_one_into_production(self) -> None:
        self._stage.heading("The better one goes into production")
        best = max(("tfidf", "longformer"), key=lambda model: self._figures(model)["default"]["micro_f1"])
        self._stage.remark(
            f"On the test split, at the bundle's own thresholds, {best} has the higher micro-F1."
        )
        self._stage.postq("bundles", "alias", "@production", f"job:{self._jobs[best]}")
        self._stage.postq("bundles", "list")
        self._stage.postq("predictions", "show", "--job", self._jobs[f"{best} all"], "--limit", 3)

    def _score_what_is_new(self) -> None:
        self._stage.heading("Every night: score what is new")
        self._stage.postq(
            *("schedule", "add", "nightly", "--cron", "0 2 * * *", "--tz", "Europe/Berlin"),
            *("--corpus", "opinions", "--bundle", "@production"),
        )
        self._stage.remark(
            "Every document has been scored by this bundle, so a first run finds nothing to do:"
        )
        self._stage.postq("schedule", "run-now", "nightly", "--wait")
        self._stage.remark("Then new opinions arrive, and only they are scored:")
        self._synthesize("new.jsonl.gz", documents=self._sizes.new_documents, seed=self._sizes.seed + 1)
        files = [self._stage.path(name) for name in ("opinions.jsonl.gz", "new.jsonl.gz")]
        self._stage.postq("corpus", "add", "opinions", *files)
        self._stage.postq("schedule", "run-now", "nightly", "--wait")
        self._check_only_the_new_were_scored()

    def _check_only_the_new_were_scored(self) -> None:
        second, first = self._stage.ask("status", "--kind", "classify", "--limit", 2)
        counts = second["documents"]
        if first["documents"]["predicted"] != 0:
            raise StepFailed(f"job {first['job']} had nothing new to score, but scored some documents")
        if not 0 < counts["predicted"] <= self._sizes.new_documents + 5:
            raise StepFailed(f"job {second['job']} scored {counts['predicted']} documents, not just the new")

    def _show_the_end(self) -> None:
        self._stage.heading("What was done")
        self._stage.postq("status")
        self._stage.postq("schedule", "list")
        self._stage.console.print()
        self._stage.console.print(self._comparison())
        self._stage.remark(
            "Synthetic texts are easy, and this Longformer is small and untrained at the start: "
            "the figures show that all parts work together, not how good a model can be."
        )
        self._stage.remark(f"Look around: {self._stage.invitation()}")

    def _figures(self, model: str) -> dict[str, Any]:
        """Cut → its figures over all test documents, from the evaluation job."""
        result = self._stage.ask("status", self._jobs[f"{model} test"])["result"]
        return {**result["report"]["tracks"]["all"], "map": result["report"]["ranking"]["map"]}

    def _comparison(self) -> Table:
        table = Table(title="Test split: micro-F1 / macro-F1", title_justify="left", title_style="bold")
        table.add_column("Model")
        for _, title in CUTS:
            table.add_column(title, justify="right")
        table.add_column("mAP", justify="right")
        for model, title in (("tfidf", "TF-IDF"), ("longformer", "small Longformer")):
            found = self._figures(model)
            pairs = [f"{found[cut]['micro_f1']:.3f} / {found[cut]['macro_f1']:.3f}" for cut, _ in CUTS]
            table.add_row(Text(title), *pairs, f"{found['map']:.3f}")
        return table

    def _check_every_job(self) -> None:
        jobs: Sequence[dict[str, Any]] = self._stage.ask("status", "--limit", 1000)
        wrong = [
            f"job {job['job']} {job['state']}: {job['reason']}"
            for job in jobs
            if job["state"] not in GOOD_ENDS
        ]
        if wrong:
            raise StepFailed("; ".join(wrong))
        self._stage.heading(f"All {len(jobs)} jobs ended as they should")
