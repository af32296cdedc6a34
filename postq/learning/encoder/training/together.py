"""Training in several processes: send each what was prepared, and take rank 0's course back."""

import json
import tempfile
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import from_numpy

from postq.contracts.device import Device
from postq.learning.encoder.forward.compute import torch_device
from postq.learning.encoder.ranks.agreement import Ranks
from postq.learning.encoder.ranks.launch import run_ranks
from postq.learning.encoder.steps.state import TrainingState
from postq.learning.encoder.training.course import Course, Orders, build_bench, run_course
from postq.learning.encoder.training.prepared import PackedPreparation, Prepared, fresh_backbone
from postq.learning.encoder.training.validation import Validation
from postq.learning.hooks import Hooks

PREFIX = ".course."
"""Of a folder beside the checkpoints, where there is room and from where a killed training's are removed."""
SCORES = "validation-scores"
"""Among the weights of a course on its way back; no parameter has a name without a dot."""


def train_together(prepared: Prepared, orders: Orders, *, device: Device, hooks: Hooks) -> Course:
    """The course of a training in `device.count` processes, one per device.

    Each optimizer step takes the same documents as in one process; their gradients are summed over the
    ranks, so the course differs by rounding only. Raises what `run_course` raises, and RankLost.
    """
    if orders.checkpoints is not None:
        orders.checkpoints.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=orders.checkpoints) as folder:
        run_ranks(
            work_as_rank,
            prepared.packed(),
            orders,
            device,
            Path(folder),
            ranks=device.count,
            backend="nccl" if device.kind == "cuda" else "gloo",
            hooks=hooks,
            within=Path(folder),
        )
        return _read(Path(folder))


def work_as_rank(
    ranks: Ranks,
    hooks: Hooks,
    packed: PackedPreparation,
    orders: Orders,
    device: Device,
    folder: Path,
) -> None:
    """One rank's part; the first leaves the course in `folder`."""
    prepared = packed.unpacked()
    backbone = fresh_backbone(prepared.recipe, prepared.labels, prepared.facets)
    own = torch_device(device.one(ranks.rank))
    bench = build_bench(prepared, backbone, device=own, hooks=hooks, ranks=ranks)
    course = run_course(prepared, bench, orders)
    if ranks.first:
        _write(course, folder)


def _write(course: Course, folder: Path) -> None:
    tensors = dict(course.best)
    if course.validation is not None:
        tensors[SCORES] = from_numpy(course.validation.scores)
    save_file(tensors, folder / "tensors.safetensors")
    values = {
        "state": course.state.to_json(),
        "metrics": None if course.validation is None else course.validation.metrics,
        "rate": course.rate,
        "budget_tokens": course.budget_tokens,
        "ranks": course.ranks,
    }
    (folder / "course.json").write_text(json.dumps(values), encoding="utf-8")


def _read(folder: Path) -> Course:
    values = json.loads((folder / "course.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / "tensors.safetensors")
    scores = tensors.pop(SCORES, None)
    metrics = values.pop("metrics")
    return Course(
        state=TrainingState.from_json(values.pop("state")),
        best=tensors,
        validation=None if scores is None else Validation(scores=scores.numpy(), metrics=metrics),
        **values,
    )
