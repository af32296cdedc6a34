"""A training that was stopped or killed ends bit for bit where an undisturbed one ends."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from postq.crash_points import AT_VARIABLE, CrashPoint
from postq.errors import DigestMismatch
from postq.learning.encoder.steps.workbench import copy_weights
from postq.learning.encoder.training.fine_tuning import train_encoder
from postq.learning.encoder.training.trained import TrainedEncoder
from postq.learning.hooks import StopRequested
from tests.unit.learning.encoder.checkpoints import train_once
from tests.unit.learning.encoder.material import CPU, FACETS, opinions, training_data
from tests.unit.learning.encoder.recorder import Recorder

DATA = training_data(opinions(21), opinions(10, start=100))


def train(backbone: Path, told: Recorder, *, facets: bool = False, **options: object) -> TrainedEncoder:
    recipe = train_once.recipe_for(str(backbone))
    if facets:
        recipe = recipe.model_copy(update={"facets": FACETS, "facet_loss": 0.5})
    options = {"tokens_per_batch": train_once.MICRO_TOKENS, **options}
    return train_encoder(recipe, DATA, device=CPU, hooks=told.hooks, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def undisturbed(tiny_backbone: Path) -> TrainedEncoder:
    return train(tiny_backbone, Recorder())


def assert_same(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


# Questions 1 and 2 are asked while tokenising; after that each micro-batch and validation batch asks once.
@pytest.mark.parametrize("question", [3, 4, 5, 8, 9, 10, 13, 16, 23])
def test_stopped_anywhere_and_resumed_it_ends_as_if_undisturbed(
    question: int, undisturbed: TrainedEncoder, tiny_backbone: Path, tmp_path: Path
) -> None:
    stopped = Recorder(stop_after=question)
    with pytest.raises(StopRequested):
        train(tiny_backbone, stopped, checkpoints=tmp_path / "token-1")
    for disturb in (random.seed, np.random.seed, torch.manual_seed):
        disturb(question)
    resumed = Recorder()
    ended = train(
        tiny_backbone, resumed, checkpoints=tmp_path / "token-2", resume_from=stopped.checkpoints[-1][0]
    )
    assert ended.timing["resumed"] == 1
    assert_same(copy_weights(ended.model), copy_weights(undisturbed.model))
    assert ended.history == undisturbed.history
    assert ended.facts == undisturbed.facts


def test_a_training_that_learns_facets_too_ends_as_if_undisturbed(
    undisturbed: TrainedEncoder, tiny_backbone: Path, tmp_path: Path
) -> None:
    whole = train(tiny_backbone, Recorder(), facets=True)
    stopped = Recorder(stop_after=9)
    with pytest.raises(StopRequested):
        train(tiny_backbone, stopped, facets=True, checkpoints=tmp_path / "token-1")
    checkpoint = stopped.checkpoints[-1][0]
    ended = train(
        tiny_backbone, Recorder(), facets=True, checkpoints=tmp_path / "token-2", resume_from=checkpoint
    )
    assert_same(copy_weights(ended.model), copy_weights(whole.model))
    assert ended.history == whole.history
    assert {name: weight.shape for name, weight in copy_weights(whole.model).items()} == {
        name: weight.shape for name, weight in copy_weights(undisturbed.model).items()
    }
    with pytest.raises(DigestMismatch, match="another recipe"):
        train(tiny_backbone, Recorder(), resume_from=checkpoint)


def test_between_two_micro_batches_of_a_step_the_gradients_are_saved_too(
    tiny_backbone: Path, tmp_path: Path
) -> None:
    told = Recorder(stop_after=3)
    with pytest.raises(StopRequested):
        train(tiny_backbone, told, checkpoints=tmp_path)
    gradients = load_file(told.checkpoints[0][0] / "gradients.safetensors")
    assert any(bool(gradient.any()) for gradient in gradients.values())


def test_stopped_again_and_again_it_still_ends_as_if_undisturbed(
    undisturbed: TrainedEncoder, tiny_backbone: Path, tmp_path: Path
) -> None:
    newest: Path | None = None
    for token in range(1, 40):
        told = Recorder(stop_after=8)
        try:
            ended = train(tiny_backbone, told, checkpoints=tmp_path / f"token-{token}", resume_from=newest)
            break
        except StopRequested:
            newest = told.checkpoints[-1][0]
    assert ended.timing["resumed"] >= 3
    assert_same(copy_weights(ended.model), copy_weights(undisturbed.model))


@pytest.mark.slow
def test_killed_inside_a_checkpoint_and_resumed_in_a_new_process_it_ends_as_if_undisturbed(
    undisturbed: TrainedEncoder, tiny_backbone: Path, tmp_path: Path
) -> None:
    # Given a process that dies while its fifth checkpoint has only a temporary name
    program = [sys.executable, "-m", "tests.unit.learning.encoder.checkpoints.train_once", str(tiny_backbone)]
    first, second, output = tmp_path / "token-1", tmp_path / "token-2", tmp_path / "weights.safetensors"
    crash = {**os.environ, AT_VARIABLE: f"{CrashPoint.BEFORE_CHECKPOINT_RENAME}:5"}
    died = subprocess.run([*program, str(first), str(output)], env=crash, check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL
    names = sorted(path.name for path in first.iterdir())
    assert names == [".partial-000005", "checkpoint-000003", "checkpoint-000004"]
    # When a new process resumes from the newest whole one
    resume = [*program, str(second), str(output), str(first / "checkpoint-000004")]
    subprocess.run(resume, check=True, timeout=120)
    # Then the weights are those of a training nobody disturbed
    assert_same(load_file(output), copy_weights(undisturbed.model))


def stopped_training(backbone: Path, folder: Path) -> Path:
    told = Recorder(stop_after=12)
    with pytest.raises(StopRequested):
        train(backbone, told, checkpoints=folder, checkpoint_steps=1)
    return told.checkpoints[-1][0]


@pytest.mark.parametrize("damage", ["flipped", "missing", "unlisted", "truncated manifest"])
def test_a_damaged_checkpoint_is_refused_and_the_one_before_is_used(
    damage: str, undisturbed: TrainedEncoder, tiny_backbone: Path, tmp_path: Path
) -> None:
    newest = stopped_training(tiny_backbone, tmp_path / "token-1")
    weights = newest / "weights.safetensors"
    if damage == "flipped":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    elif damage == "missing":
        weights.unlink()
    elif damage == "unlisted":
        (newest / "manifest.json").write_text('{"format": 1, "files": {}}')
    else:
        (newest / "manifest.json").write_text('{"format": 1, "fil')
    told = Recorder()
    ended = train(tiny_backbone, told, checkpoints=tmp_path / "token-2", resume_from=newest)
    assert told.events[0] == "CHECKPOINT_REFUSED"
    assert ended.timing["resumed"] == 1
    assert_same(copy_weights(ended.model), copy_weights(undisturbed.model))


def test_without_any_sound_checkpoint_the_training_starts_anew_and_says_so(
    undisturbed: TrainedEncoder, tiny_backbone: Path, tmp_path: Path
) -> None:
    told = Recorder()
    ended = train(tiny_backbone, told, resume_from=tmp_path / "token-1" / "checkpoint-000007")
    assert told.events[:2] == ["CHECKPOINT_REFUSED", "CHECKPOINT_LOST"]
    assert_same(copy_weights(ended.model), copy_weights(undisturbed.model))


def test_a_checkpoint_of_another_recipe_is_refused(tiny_backbone: Path, tmp_path: Path) -> None:
    newest = stopped_training(tiny_backbone, tmp_path)
    other = train_once.recipe_for(str(tiny_backbone)).model_copy(update={"learning_rate": 1e-3})
    with pytest.raises(DigestMismatch, match="another recipe"):
        train_encoder(other, DATA, device=CPU, hooks=Recorder().hooks, resume_from=newest)


def test_only_the_newest_two_checkpoints_are_kept(tiny_backbone: Path, tmp_path: Path) -> None:
    told = Recorder()
    train(tiny_backbone, told, checkpoints=tmp_path, checkpoint_steps=1)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [path.name for path, _ in told.checkpoints[-2:]]
    assert len(told.checkpoints) == 12
    assert [step for _, step in told.checkpoints][-3:] == [8, 9, 9]
