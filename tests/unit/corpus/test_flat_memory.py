"""Memory does not follow the size of the source: long streams and one enormous line stay within a bound."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from postq.corpus.location import Input
from postq.corpus.snapshot import write_snapshot
from postq.corpus.source import SourceForm, read_source
from postq.corpus.streams import Meter

def peak_kilobytes():
    # The high-water mark of this process alone; ru_maxrss would start at that of the process that started it.
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return int(next(line for line in status.read_text().splitlines() if "VmHWM" in line).split()[1])

def taken_in(source, folder):
    meter = Meter()
    records = read_source([Input(path=source)], form=SourceForm(sys.argv[2]), meter=meter)
    return write_snapshot(records, Path(folder), sources=[source], created=datetime.now(UTC), meter=meter)

small = Path(sys.argv[1]) / "small.jsonl"
small.write_bytes(Path(sys.argv[4]).read_bytes())
taken_in(str(small), f"{sys.argv[1]}/small")
before = peak_kilobytes()
facts = taken_in(sys.argv[3], f"{sys.argv[1]}/large")
grown = peak_kilobytes() - before
print(grown // 1024, facts.documents, facts.set_aside)
"""

WRITE = """
import sys
kind, target = sys.argv[1:]
with open(target, "wb") as pipe:
    if kind == "csv":
        pipe.write(b"id,text\\n")
    for number in range(8 if kind == "jsonl" else 3):
        if kind == "jsonl":
            pipe.write(b'{"id": "long%d", "text": "' % number if number == 3 else b"")
            pipe.write((b"endless words " * 75_000) * (200 if number == 3 else 0))
            pipe.write(b'"}\\n' if number == 3 else b"")
        for row in range(400):
            text = (b"word%d some other words of this document " % (row * number)) * 1600
            line = b'{"id": "%d-%d", "text": "%s"}\\n' if kind == "jsonl" else b'%d-%d,"%s"\\n'
            pipe.write(line % (number, row, text))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("form", "count", "set_aside"), [("jsonl", 3200, 1), ("csv", 1200, 0)])
def test_hundreds_of_megabytes_through_a_pipe_take_little_memory(
    form: str, count: int, set_aside: int, tmp_path: Path, repository: Path
) -> None:
    # Given a pipe that 200 MB of JSON lines come through, and one line of another 200 MB; or 75 MB of CSV
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    small = tmp_path / "rows"
    text = "word some other words of this document " * 1600
    rows = {"jsonl": f'{{"id": "s", "text": "{text}"}}\n', "csv": f"id,text\ns,{text}\n"}
    small.write_text(rows[form], encoding="utf-8")
    writer = subprocess.Popen([sys.executable, "-c", WRITE, form, str(pipe)])
    # When it is taken in by a process of its own, after a small one has warmed everything up
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path), form, str(pipe), str(small)],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert writer.wait(timeout=60) == 0, done.stderr
    # Then its memory grew by a few row groups and buffers, not by the stream
    grown_megabytes, documents, aside = (int(value) for value in done.stdout.split())
    assert (documents, aside) == (count, set_aside)
    assert grown_megabytes < 150
