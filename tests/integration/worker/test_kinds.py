"""Train, evaluate and classify, chained, by a real worker: what each leaves in the database and on disk."""

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from postq.contracts.specs import ClassifySpec, EvaluateSpec
from postq.corpus.location import Input
from postq.db import Database
from postq.models import BundleRow
from postq.models.tables import prediction, prediction_label, worker
from postq.registry.intake import add_corpus
from tests.faults.accounting import check_invariants, check_no_orphans
from tests.faults.ground import Ground, opened_ground
from tests.faults.stock import DOCUMENTS, train_spec, write_opinions


def stored(ground: Ground, table: sa.Table, job_id: int) -> int:
    return int(ground.one(sa.select(sa.func.count()).select_from(table).where(table.c.job_id == job_id))[0])


def test_a_chain_of_jobs_is_done_and_leaves_what_it_should(
    tmp_path: Path, isolated_settings: Path, database: Database
) -> None:
    url = database.engine.url.render_as_string(hide_password=False)
    with opened_ground(tmp_path, home=isolated_settings, database_url=url) as ground:
        # Given a corpus and five jobs, each waiting for what it needs
        file = write_opinions(tmp_path / "opinions.jsonl")
        add_corpus(database, ground.settings, name="opinions", inputs=[Input(path=str(file))])
        trained = ground.train(train_spec())
        own = f"job:{trained}"
        evaluated = ground.evaluate(bundle=own, after_job_id=trained)
        leaking = ground.submit(EvaluateSpec(corpus_id=1, bundle=own, split="all"), after_job_id=trained)
        classified = ground.classify(bundle=own, after_job_id=trained)
        again = ground.submit(ClassifySpec(corpus_id=1, bundle=own, only_new=True), after_job_id=classified)
        # When one worker has done them
        doing = ground.start_worker()
        states = ground.wait_for_end(trained, evaluated, leaking, classified, again)
        assert doing.drain() == 0
        # Then each ended as it should
        assert states == ["succeeded", "succeeded", "failed", "succeeded", "succeeded"]
        check_invariants(ground, trained, evaluated, leaking, classified, again)
        check_training(ground, trained)
        check_evaluation(ground, evaluated)
        assert "trained or tuned on" in ground.job(leaking).error
        assert "--allow-leak" in ground.job(leaking).hint
        assert stored(ground, prediction, classified) == DOCUMENTS
        assert stored(ground, prediction_label, classified) > 0
        assert "nothing new" in ground.job(again).reason
        # And nothing is left lying about
        assert not list((isolated_settings / "attempts").rglob("*.arrow"))
        assert ground.one(sa.select(worker.c.state))[0] == "stopped"
        check_no_orphans(isolated_settings)


def check_training(ground: Ground, job_id: int) -> None:
    row = ground.job(job_id)
    with ground.database.reading() as session:
        bundle = session.get_one(BundleRow, row.bundle_id)
    assert (ground.home / bundle.path / "manifest.json").is_file()
    assert bundle.digest == row.result["digest"]
    assert bundle.labels == ["appeal", "dismissal", "summary"]
    assert bundle.job_id == job_id
    assert row.result["comparison"]


def check_evaluation(ground: Ground, job_id: int) -> None:
    row = ground.job(job_id)
    documents = row.result["documents"]
    assert 0 < documents < DOCUMENTS
    assert row.documents_predicted == documents == stored(ground, prediction, job_id)
    assert row.documents_skipped == DOCUMENTS - documents
    assert row.result["report"]["tracks"]["all"]["default"]["micro_f1"] is not None
    assert row.result["test_touches"] == 1
    assert row.result["leaks"] == {"documents": 0}


@pytest.mark.parametrize("device", ["cuda:7", "tpu"])
def test_a_worker_on_a_device_that_is_not_there_says_so_and_ends(device: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "postq.worker", "--device", device],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 6
    assert f"has no device '{device}'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://nobody:hunter2hunter2@127.0.0.1:1/none", "sqlite:////proc/none/postq.db"]
)
def test_a_worker_without_a_database_says_so_and_ends(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTQ_DATABASE_URL", url)
    done = subprocess.run(
        [sys.executable, "-m", "postq.worker"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 6
    assert "database" in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr
