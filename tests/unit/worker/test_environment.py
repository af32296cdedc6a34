"""A runner is born with its own device, its share of the cores, and no password."""

import pytest

from postq.contracts.device import Device
from postq.settings import Settings
from postq.worker import environment
from postq.worker.environment import runner_environment, share_of_cores

CPU = Device(kind="cpu", name="cpu", memory_bytes=2**30)


def test_passwords_are_withheld() -> None:
    given = {"POSTQ_DATABASE_URL": "postgresql://u:p@h/d", "POSTQ_BROKER_URL": "redis://:p@h", "HOME": "/h"}
    made = runner_environment(CPU, threads=2, inherited=given)
    assert "POSTQ_DATABASE_URL" not in made
    assert "POSTQ_BROKER_URL" not in made
    assert made["HOME"] == "/h"


def test_threads_and_devices_are_set_before_any_import() -> None:
    made = runner_environment(CPU, threads=3, inherited={"CUDA_VISIBLE_DEVICES": "0,1"})
    assert (made["OMP_NUM_THREADS"], made["MKL_NUM_THREADS"]) == ("3", "3")
    assert made["CUDA_VISIBLE_DEVICES"] == ""
    assert made["TOKENIZERS_PARALLELISM"] == "false"


def test_settings_of_the_file_reach_the_runner_and_win_over_what_was_inherited() -> None:
    settings = Settings(attention="stock", products="plain", tokeniser_processes=3)
    given = {"POSTQ_ATTENTION": "auto", "POSTQ_PRODUCTS": "packed"}
    made = runner_environment(CPU, threads=1, variables=settings.runner_variables, inherited=given)
    assert made["POSTQ_ATTENTION"] == "stock"
    assert made["POSTQ_PRODUCTS"] == "plain"
    assert made["POSTQ_TOKENISER_PROCESSES"] == "3"


def test_an_automatic_number_of_tokenisers_is_not_told() -> None:
    assert "POSTQ_TOKENISER_PROCESSES" not in Settings().runner_variables


def test_an_offline_setting_of_the_hub_is_kept() -> None:
    assert runner_environment(CPU, threads=1, inherited={"HF_HUB_OFFLINE": "1"})["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize(
    ("workers_here", "cpu_threads", "threads"),
    [(1, None, 8), (2, None, 4), (3, None, 2), (20, None, 1), (0, None, 8), (4, 6, 6)],
)
def test_workers_share_the_cores(
    workers_here: int, cpu_threads: int | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "usable_cores", lambda: 8)
    assert share_of_cores(workers_here=workers_here, cpu_threads=cpu_threads) == threads


def test_tokenisers_use_all_cores_only_beside_a_gpu() -> None:
    made = runner_environment(Device(kind="cuda", index=1), threads=2, inherited={})
    assert made["TOKENIZERS_PARALLELISM"] == "true"
