"""Everything that needs a CUDA GPU, in one call and within a time: every table, then the kernels' tests.

`python -m benchmarks.cuda --minutes 9`. Each step is a process of its own with a share of the time that is
left; one that takes longer is ended, and what it has recorded by then stays in `results/`. On a machine
without a CUDA device it says so and ends. Needs pytest and accelerate besides postq's encoders.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
TESTS = "tests/unit/learning/longformer"
TRAINER = ("--device", "cuda:0", "--documents", "96", "--batch", "16", "--padded", "8", "--rounds", "2")
SCORING = ("--device", "cuda:0", "--documents", "8000", "--hidden", "768", "--layers", "12", "--rounds", "2")
SCARCE_SECONDS = 20
"""With less left than this nothing is begun: importing torch and compiling a kernel take as long."""


@dataclass(frozen=True, slots=True)
class Step:
    """A program, and how much of the time that is left when it begins it may take."""

    name: str
    arguments: Sequence[str]
    share: float
    devices: int = 1


STEPS = (
    Step("Longformer", ("benchmarks.longformer_cuda", "--rounds", "3", "--documents", "128"), 0.45),
    Step("bulk scoring", ("benchmarks.classify_encoder", *SCORING), 0.7),
    Step("Trainer", ("benchmarks.hf_trainer", *TRAINER), 0.7),
    Step("several devices", ("benchmarks.data_parallel",), 0.5, devices=2),
    Step("tests of the kernels", ("pytest", "-q", f"{TESTS}/test_cuda.py", f"{TESTS}/gpu"), 1.0),
)


def main() -> int:
    """Run every step that this machine has devices for; 1 when one failed or was cut short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="time for all of it")
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        print("No CUDA device here: nothing was checked, nothing was measured.")
        return 0
    until = time.monotonic() + asked.minutes * 60
    ends = [(step.name, _run(step, until)) for step in STEPS if step.devices <= torch.cuda.device_count()]
    print("\n== in all")
    for name, end in ends:
        print(f"{name}: {end}")
    return 0 if all(end.startswith("done") for _, end in ends) else 1


def _run(step: Step, until: float) -> str:
    """How the step ended, in words; no process of it is left."""
    left = until - time.monotonic()
    if left < SCARCE_SECONDS:
        return "not begun, no time left"
    print(f"\n== {step.name}, at most {left * step.share:.0f} s", flush=True)
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", *step.arguments], cwd=ROOT, start_new_session=True)
    try:
        code = process.wait(timeout=left * step.share)
    except subprocess.TimeoutExpired:
        return f"cut short after {time.monotonic() - began:.0f} s"
    finally:
        _end_all_of(process)
    return f"{'done' if code == 0 else f'failed ({code})'} in {time.monotonic() - began:.0f} s"


def _end_all_of(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a step's session, such as workers it started: the next one needs the device."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


if __name__ == "__main__":
    sys.exit(main())
