"""For how long a device stands still between two shards of a classification, with looking ahead and without.

`python -m benchmarks.between_shards` (three minutes on two cores) scores a corpus cut into many shards with a
small Longformer, in turn by a worker that claims and reads the next shard while one is nearly done, and by
one that does not, since a crash budget of one forbids it. On a CPU one process tokenises, as beside a GPU.
"""

import argparse
import statistics
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.classify_encoder import Bench, runner_lines
from benchmarks.recording import record

WAYS = {"looking ahead": "2", "one after the other": "1"}
"""Crash budgets."""


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", help="cpu, cuda:0 or mps")
    parser.add_argument("--documents", type=int, default=1_200)
    parser.add_argument("--shard", type=int, default=120, help="documents of a shard")
    parser.add_argument("--words", type=int, default=900, help="median words of a document")
    parser.add_argument("--hidden", type=int, default=96)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def classified(bench: Bench, crash_budget: str) -> list[dict[str, float]]:
    """Milliseconds of a warm worker's pauses before each shard but the first."""
    bench.environment["POSTQ_CRASH_BUDGET"] = crash_budget
    with bench.worker():
        for _ in range(2):  # the first time the worker loads the model
            bench.postq("classify-corpus", "score", "--bundle", "job:1", "--wait")
    lines = sorted(runner_lines(bench), key=_time)
    if not any(line["event"] == "Processes tokenise from now on." for line in lines):
        raise SystemExit("No process tokenised: give more documents a shard.")
    job = max(line["job"] for line in lines if "job" in line)
    begun = [line for line in lines if line["event"] == "An attempt begins." and line["job"] == job]
    ended = [line for line in lines if line["event"] == "The attempt finished." and line["job"] == job]
    scored = [line for line in lines if line["event"] == "The documents were scored."][-len(begun) :]
    return [
        {
            "pause": 1_000 * (_time(after) - _time(before)),
            "tokens": 1_000 * scores["waiting_seconds"],
            "scoring": 1_000 * scores["computing_seconds"],
        }
        for before, after, scores in zip(ended, begun[1:], scored[1:], strict=False)
    ]


def _time(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def _row(way: str, rounds: list[list[dict[str, float]]]) -> dict[str, Any]:
    shards = [shard for one in rounds for shard in one]
    median = {name: statistics.median(shard[name] for shard in shards) for name in shards[0]}
    still = [shard["pause"] + shard["tokens"] for shard in shards]
    return {
        "way": way,
        "shards": len(shards),
        "from_end_to_begin_ms": round(median["pause"], 1),
        "waiting_for_tokens_ms": round(median["tokens"], 1),
        "scoring_ms": round(median["scoring"], 1),
        "standing_still_ms": round(statistics.median(still), 1),
        "rounds_ms": [
            round(statistics.median(shard["pause"] + shard["tokens"] for shard in one), 1) for one in rounds
        ],
    }


def main() -> None:
    """Measure in turn and record."""
    asked = options()
    found: dict[str, list[list[dict[str, float]]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), asked)
        bench.environment["POSTQ_SHARD_DOCUMENTS"] = str(asked.shard)
        if asked.device == "cpu":
            bench.environment["POSTQ_TOKENISER_PROCESSES"] = "1"
        with bench.worker():
            bench.prepare()
        for at in range(asked.rounds):
            for way, crash_budget in WAYS.items():
                found[way].append(classified(bench, crash_budget))
                print(f"round {at + 1}: {_row(way, found[way][-1:])}", flush=True)
    rows = [_row(way, rounds) for way, rounds in found.items()]
    rows[0]["of_one_after_the_other"] = round(rows[0]["standing_still_ms"] / rows[1]["standing_still_ms"], 3)
    record(
        "between_shards",
        rows,
        method=(
            "`postq classify-corpus` on one warm worker with SQLite, in turn with looking ahead and without. "
            "from_end_to_begin_ms: from the end of one attempt to the beginning of the next in the runner's "
            "log; waiting_for_tokens_ms: in a shard, the model had none; standing_still_ms: both. Medians "
            "over all shards but the first of each job."
        ),
        parameters=vars(asked),
        device=asked.device,
    )


if __name__ == "__main__":
    main()
