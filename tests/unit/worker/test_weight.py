"""The worker process stays light: what computes is imported by the runner, and there only what is needed."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "sklearn", "scipy", "transformers", "tokenizers", "safetensors")


@pytest.mark.parametrize(
    "modules",
    [
        "postq.worker.process, postq.worker.__main__, postq.tasks.classify, postq.tasks.results",
        "postq.tasks.train, postq.tasks.evaluate",
        "postq.worker.runner",
        "postq.nudges, postq.devices, postq.celery_app",
    ],
)
def test_no_heavy_library_is_imported(modules: str) -> None:
    program = f"import sys, {modules}; print(*(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == ""


def test_the_runner_does_not_even_know_sql() -> None:
    program = """
import sys
import postq.worker.runner, postq.tasks.classify, postq.tasks.evaluate, postq.tasks.train
print(*({"sqlalchemy", "sqlmodel", "celery", "kombu", "psycopg"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == ""
