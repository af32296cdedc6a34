"""The epochs of a training: windows, validation, the best epoch, early stopping, and pauses in between."""

import time
from functools import partial

from postq.crash_points import CrashPoint, reach
from postq.learning.encoder.checkpoints.resume import CheckpointWriter
from postq.learning.encoder.forward.inference import TokenBudget
from postq.learning.encoder.scoring.space import EncoderSettings
from postq.learning.encoder.steps.epoch_plan import plan_epoch
from postq.learning.encoder.steps.state import TrainingState
from postq.learning.encoder.steps.window import train_window
from postq.learning.encoder.steps.workbench import Examples, Workbench, copy_weights
from postq.learning.encoder.training.pace import Pace
from postq.learning.encoder.training.validation import Validation, validate
from postq.learning.hooks import StopRequested


class TrainingLoop:
    """Runs a training from wherever its state stands to its end."""

    def __init__(
        self,
        bench: Workbench,
        state: TrainingState,
        *,
        validation: Examples,
        settings: EncoderSettings,
        budget: TokenBudget,
        writer: CheckpointWriter,
    ) -> None:
        self.bench = bench
        self.state = state
        self.last_validation: Validation | None = None
        self._validation = validation
        self._settings = settings
        self.budget = budget
        self._writer = writer
        self._lengths = bench.examples.lengths
        self._started = time.monotonic() - state.seconds
        self._pace = Pace()

    def run(self) -> None:
        """Train all epochs; raises StopRequested after a checkpoint when a stop is asked for."""
        self.bench.runs.train()
        try:
            recipe = self.bench.recipe
            while self.state.epoch < recipe.epochs and not self.state.ran_out_of_patience(recipe.patience):
                self._train_epoch()
                self._finish_epoch()
        except StopRequested:
            self._pause()

    def _train_epoch(self) -> None:
        recipe = self.bench.recipe
        windows = plan_epoch(
            self._lengths,
            window_documents=recipe.batch_documents * recipe.accumulation,
            seed=recipe.seed,
            epoch=self.state.epoch,
        )
        for window in windows[self.state.window :]:
            done = sum(map(len, windows[: self.state.window]))
            report = partial(self._report, done, len(window))
            train_window(self.bench, self.state, window, pause=_stop, report=report)
            reach(CrashPoint.TRAINING_STEP)
            if not self.bench.ranks.alone and self.bench.ranks.any(self.bench.hooks.should_stop()):
                raise StopRequested
            self._writer.write_if_due(self.bench, self.state)

    def _report(self, before_window: int, in_window: int) -> None:
        """Progress in documents; the loss is the epoch's so far, per document and not per micro-batch.

        Within a window a rank knows its own part only and takes the others to be as far.
        """
        per_epoch = len(self._lengths)
        moved = min(in_window, self.state.offset * self.bench.ranks.size)
        sums = self.state.epoch_sums.plus(self.state.open_sums)
        done = self.state.epoch * per_epoch + before_window + moved
        self.bench.hooks.progress(
            "training",
            done,
            self.bench.recipe.epochs * per_epoch,
            {
                "epoch": self.state.epoch + 1,
                "loss": sums.loss / max(1, sums.documents),
                "learning_rate": self.bench.rate,
                "documents_per_second": self._pace.after(done),
            },
        )

    def _finish_epoch(self) -> None:
        outcome = validate(self.bench, self._validation, self._settings, budget=self.budget)
        sums = self.state.epoch_sums
        documents = max(1, sums.documents)
        self.state.seconds = time.monotonic() - self._started
        self.state.close_epoch(
            {
                "epoch": float(self.state.epoch + 1),
                "train_loss": sums.loss / documents,
                "train_loss_unweighted": sums.plain_loss / documents,
                **outcome.metrics,
                "learning_rate": self.bench.rate,
                "steps": float(self.state.optimizer_steps),
                "tokens": float(self.state.tokens),
                "seconds": self.state.seconds,
            }
        )
        if self.state.best_epoch == self.state.epoch:
            if self.bench.ranks.first:
                self.bench.best = copy_weights(self.bench.model)
            self.last_validation = outcome
        self._writer.write(self.bench, self.state)

    def _pause(self) -> None:
        self.state.seconds = time.monotonic() - self._started
        self._writer.write(self.bench, self.state)
        raise StopRequested


def _stop() -> None:
    raise StopRequested
