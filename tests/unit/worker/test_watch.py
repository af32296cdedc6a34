"""A watched attempt: its lease is kept, a lost one or a standstill ends the runner, stops are asked for."""

from typing import Any

import pytest

from postq.contracts.failure import FailureClass
from postq.contracts.runner import Checkpoint, Failed, Finished, Note, Stopped
from postq.db import database_now
from postq.jobs.cancel import cancel
from postq.worker import watch as watch_module
from postq.worker.runner_process import RunnerExited
from postq.worker.watch import LeaseLost
from tests.unit.worker.scene import Scene, progress


def test_a_finished_attempt_brings_its_result(scene: Scene) -> None:
    ending, runner = scene.watch(progress(1), Finished(result={"a": 1}))
    assert ending == Finished(result={"a": 1})
    assert runner.done_to == []


def test_progress_is_written_and_the_lease_renewed(scene: Scene) -> None:
    before = scene.row().lease_until
    scene.watch(progress(4), scene.passes(3), Finished())
    row = scene.row()
    assert (row.phase, row.progress_done, row.progress_total) == ("scoring", 4, 10)
    assert row.progress_metrics == {"loss": 0.5}
    assert row.lease_until > before


def test_notes_and_checkpoints_reach_the_database(scene: Scene) -> None:
    place = scene.folders.checkpoints(scene.lease) / "step-7"
    note = Note(event="detector.shy", message="It predicts little.", data={"share": 0.1})
    scene.watch(note, Checkpoint(path=place, step=7), Finished())
    assert scene.row().checkpoint == f"checkpoints/job-{scene.lease.job_id}-0ddba11a/token-1/step-7"
    assert scene.row().checkpoint_step == 7
    (line,) = scene.events("detector.shy")
    assert (line.message, line.data) == ("It predicts little.", {"share": 0.1})


def test_a_registered_checkpoint_lets_go_of_those_of_earlier_attempts(scene: Scene) -> None:
    mine = scene.folders.checkpoints(scene.lease)
    older, newer = mine.with_name("token-0"), mine.with_name("token-2")
    for folder in (older, mine, newer):
        folder.mkdir(parents=True)
    scene.watch(Checkpoint(path=mine / "step-1", step=1), Finished())
    assert [folder.exists() for folder in (older, mine, newer)] == [False, True, True]


def test_a_lost_lease_ends_the_runner_and_nothing_is_written(scene: Scene) -> None:
    ending, runner = scene.watch(scene.take_away_lease, progress(5), scene.passes(20), progress(6))
    assert isinstance(ending, LeaseLost)
    assert runner.done_to == ["kill"]
    assert scene.row().progress_done == 0


def test_a_database_that_is_away_is_waited_for_while_the_lease_lasts(scene: Scene) -> None:
    def leave() -> None:
        scene.away = True

    def return_() -> None:
        scene.away = False

    ending, runner = scene.watch(leave, scene.passes(40), progress(3), return_, scene.passes(5), Finished())
    assert isinstance(ending, Finished)
    assert runner.done_to == []
    assert scene.row().progress_done == 3


def test_a_database_that_is_away_past_the_lease_ends_the_runner(scene: Scene) -> None:
    scene.away = True
    ending, runner = scene.watch(*[scene.passes(10)] * 7)
    assert isinstance(ending, LeaseLost)
    assert runner.done_to == ["kill"]
    assert scene.clock.now - 1000 == pytest.approx(60, abs=11)


def test_a_lease_that_waited_for_its_attempt_runs_out_as_much_sooner(scene: Scene) -> None:
    scene.away = True
    ending, _ = scene.watch(*[scene.passes(5)] * 14, claimed_ago=30)
    assert isinstance(ending, LeaseLost)
    assert scene.clock.now - 1000 == pytest.approx(30, abs=6)


def test_a_wrong_statement_is_not_taken_for_an_outage(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(watch_module, "renew", broken)
    with pytest.raises(ValueError, match="a bug"):
        scene.watch(progress(1))


def test_no_progress_within_the_limit_is_a_stall(scene: Scene) -> None:
    ending, runner = scene.watch(progress(1), scene.passes(99), scene.passes(2))
    assert isinstance(ending, Failed)
    assert ending.failure is FailureClass.STALLED
    assert "100 seconds while scoring" in ending.message
    assert runner.done_to == ["kill"]


def test_saying_the_same_progress_again_is_not_progress(scene: Scene) -> None:
    ending, _ = scene.watch(*[step for _ in range(6) for step in (progress(1), scene.passes(20))])
    assert isinstance(ending, Failed)
    assert ending.failure is FailureClass.STALLED


def test_slow_but_steady_work_is_no_stall(scene: Scene) -> None:
    steps = [step for done in range(6) for step in (progress(done), scene.passes(90))]
    ending, _ = scene.watch(*steps, Finished())
    assert isinstance(ending, Finished)


def test_loading_a_model_may_take_longer(scene: Scene) -> None:
    ending, _ = scene.watch(progress(0, "loading"), scene.passes(150), progress(1, "loading"), Finished())
    assert isinstance(ending, Finished)


@pytest.mark.parametrize("phase", ["fitting", "baseline fitting"])
def test_fitting_may_take_longer_for_a_baseline_too(scene: Scene, phase: str) -> None:
    ending, _ = scene.watch(progress(0, phase), scene.passes(350), progress(1, phase), Finished())
    assert isinstance(ending, Finished)


def test_a_drain_is_asked_for_and_the_runners_answer_taken(scene: Scene) -> None:
    def drain() -> None:
        scene.draining = True

    ending, runner = scene.watch(progress(1), drain, progress(2), Stopped())
    assert ending == Stopped()
    assert runner.done_to == ["ask"]


def test_work_that_finishes_before_it_could_stop_is_kept(scene: Scene) -> None:
    scene.draining = True
    ending, _ = scene.watch(progress(9), Finished(result={"kept": True}))
    assert ending == Finished(result={"kept": True})


def test_a_runner_that_does_not_stop_in_its_grace_is_ended_by_force(scene: Scene) -> None:
    scene.draining = True
    ending, runner = scene.watch(progress(1), scene.passes(29), scene.passes(2))
    assert ending == Stopped()
    assert runner.done_to == ["ask", "terminate", "kill"]


def test_a_cancelled_job_is_noticed_at_the_next_renewal(scene: Scene) -> None:
    def cancel_job() -> None:
        with scene.database.transaction() as session:
            cancel(session, scene.lease.job_id, now=database_now(session), settings=scene.settings)

    ending, runner = scene.watch(progress(1), cancel_job, scene.passes(3), progress(2), Stopped())
    assert ending == Stopped()
    assert runner.done_to == ["ask"]


@pytest.mark.parametrize(("returncode", "words"), [(-11, "SIGSEGV"), (-9, "SIGKILL"), (1, "exit code 1")])
def test_a_runner_that_dies_is_a_crash_told_in_words(scene: Scene, returncode: int, words: str) -> None:
    ending, _ = scene.watch(progress(1), RunnerExited(returncode=returncode))
    assert isinstance(ending, Failed)
    assert (ending.failure, ending.traceback) == (FailureClass.CRASH, "its last words")
    assert words in ending.message


def test_a_sigkill_while_the_kernel_counted_one_is_out_of_memory(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter([7, 8])
    monkeypatch.setattr(watch_module, "out_of_memory_kills", lambda: next(counts))
    ending, _ = scene.watch(progress(1), RunnerExited(returncode=-9))
    assert isinstance(ending, Failed)
    assert ending.failure is FailureClass.HOST_OOM


@pytest.mark.parametrize("steps", [(), (progress(0, "loading"),)], ids=["starting", "loading"])
@pytest.mark.parametrize(
    "end",
    [
        RunnerExited(returncode=-11),
        Failed(failure=FailureClass.HOST_OOM, message="It ended."),
        Failed(failure=FailureClass.STALLED, message="It ended."),
    ],
    ids=["dies", "memory", "stands still"],
)
def test_a_failure_before_any_document_was_read_is_no_documents_fault(
    scene: Scene, steps: tuple[Any, ...], end: Any
) -> None:
    ending, _ = scene.watch(*steps, end)
    assert isinstance(ending, Failed)
    assert ending.failure is FailureClass.NOT_BEGUN
    assert ending.message.endswith(". No document had been read yet.")
    assert ending.hint


def test_an_error_before_any_document_was_read_keeps_its_name(scene: Scene) -> None:
    said = Failed(failure=FailureClass.BAD_INPUT, message="The bundle is gone.", hint="Train it again.")
    ending, _ = scene.watch(progress(0, "loading"), said)
    assert ending == said


def test_a_runner_that_dies_while_it_should_stop_did_not_crash(scene: Scene) -> None:
    scene.draining = True
    ending, _ = scene.watch(progress(1), RunnerExited(returncode=-15))
    assert ending == Stopped()
