"""Ranks as processes: started by torch's own launcher, heard through rank 0, and ended together.

The launcher (`torch.distributed.launcher`, what `torchrun` runs on) starts one child per rank, in this
process' group, and ends all when one dies. Rendezvous and process group meet in files of a private folder,
and gloo and NCCL talk over loopback, so no port is open to other machines.
"""

import json
import logging
import os
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import structlog
import torch
import torch.distributed as dist
from torch import Tensor

from postq import errors
from postq.errors import PostqError, RankLost
from postq.learning.encoder.ranks.agreement import Ranks
from postq.learning.hooks import Hooks, StopRequested
from postq.lifeline import die_with
from postq.logs import configure_logging
from postq.settings import load_settings

LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
LOOK_SECONDS = 0.1
"""How soon a request to stop reaches rank 0, and the end of a rank the launcher."""
PATIENCE = timedelta(hours=6)
"""How long a rank waits for the others: a frozen one is the supervisor's affair, which watches progress."""
BEREFT_SECONDS = 60.0
"""A rank that lost the others waits for the launcher, which knows who died first, to end it."""
SIGNALS = "SIGURG"
"""What the launcher may handle: a signal nobody sends. All others keep their meaning for the whole group."""

_log = structlog.get_logger()

Work = Callable[..., None]
"""Called in every process as `work(ranks, hooks, *arguments)`; a function that a new process can import."""


class PeersLost(RuntimeError):
    """The others cannot be reached: one of them is gone, and the launcher will say which."""


def run_ranks(work: Work, *arguments: Any, ranks: int, backend: str, hooks: Hooks, within: Path) -> None:
    """Run `work` in `ranks` processes of a torch process group until all have returned.

    What they and the launcher write lies in a folder below `within`, from where somebody removes it when
    this process is killed. Rank 0's hooks end in `hooks`; the others' in nothing. When a rank raises, all
    are ended and its error is raised here: a PostqError as itself, any other as RuntimeError with its words.
    Raises RankLost when one dies without a word, and StopRequested when the ranks stopped as asked.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    with _private_folder(within) as folder, _Line(hooks) as line:
        launch = _launcher(folder, ranks)
        _take_over_logs_of_torch()
        try:
            stopped = launch(os.getpid(), folder, backend, line.far_end, work, arguments)
        except ChildFailedError as exc:
            raise cause_of(exc, folder, ranks=ranks) from exc
    if any(stopped.values()):
        raise StopRequested


@contextmanager
def _private_folder(within: Path) -> Iterator[Path]:
    """A folder for this launch, that of temporary files too, since the launcher makes one for each rank."""
    usual = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="ranks-", dir=within) as name:
        tempfile.tempdir = name
        try:
            yield Path(name)
        finally:
            tempfile.tempdir = usual


def _launcher(folder: Path, ranks: int) -> Callable[..., Mapping[int, bool]]:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # else it opens a port on every interface
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=ranks,
        run_id="training",
        rdzv_backend="c10d",
        rdzv_endpoint=str(folder / "rendezvous"),
        rdzv_configs={"store_type": "file"},
        max_restarts=0,
        monitor_interval=LOOK_SECONDS,
        start_method="spawn",
        logs_specs=DefaultLogsSpecs(log_dir=str(folder / "logs")),
        local_addr="localhost",
        signals_to_handle=SIGNALS,
    )
    return elastic_launch(config, _be_rank)


def _be_rank(
    parent: int, folder: Path, backend: str, line: Connection, work: Work, arguments: tuple[Any, ...]
) -> bool:
    """A rank's life; the answer says whether it stopped as asked."""
    die_with(parent)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    hooks = _far_hooks(line) if rank == 0 else Hooks()
    if rank != 0:
        line.close()
    try:
        configure_logging(load_settings(), component=f"rank {rank}")
        _take_over_logs_of_torch()
        with _process_group(folder, backend, rank=rank, size=size) as exchange:
            try:
                work(Ranks(exchange, rank=rank, size=size), hooks, *arguments)
            except StopRequested:
                return True
    except PeersLost:
        threading.Event().wait(BEREFT_SECONDS)
        raise
    except BaseException as exc:
        write_error(folder, rank, exc)
        raise
    return False


def _take_over_logs_of_torch() -> None:
    """Let torch's lines take the way of all others, where they get their form and lose their secrets.

    Torch has handlers of its own. What its launcher says of a rank that failed, `cause_of` says too.
    """
    for name in [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "torch"]:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("torch.distributed.elastic.multiprocessing").setLevel(logging.CRITICAL)


@contextmanager
def _process_group(folder: Path, backend: str, *, rank: int, size: int) -> "Iterator[_GroupExchange]":
    for variable in INTERFACES:
        os.environ.setdefault(variable, LOOPBACK)
    torch.set_num_threads(max(1, torch.get_num_threads() // size))
    if backend == "nccl":
        torch.cuda.set_device(rank)
    meeting = f"file://{folder / 'group'}"
    dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=size, timeout=PATIENCE)
    yield _GroupExchange(dist.group.WORLD if backend == "gloo" else dist.new_group(backend="gloo"))
    dist.destroy_process_group()


class _GroupExchange:
    """Words and host tensors travel over gloo, a GPU's over NCCL."""

    def __init__(self, host_group: Any) -> None:
        self._host_group = host_group

    def gather(self, said: bytes) -> list[bytes]:
        size = dist.get_world_size()
        with _peers_needed():
            lengths = [torch.zeros(1, dtype=torch.long) for _ in range(size)]
            dist.all_gather(lengths, torch.tensor([len(said)]), group=self._host_group)
            longest = max(int(length) for length in lengths)
            own = torch.zeros(longest, dtype=torch.uint8)
            own[: len(said)] = torch.frombuffer(bytearray(said), dtype=torch.uint8)
            heard = [torch.zeros_like(own) for _ in range(size)]
            dist.all_gather(heard, own, group=self._host_group)
        pairs = zip(heard, lengths, strict=True)
        return [bytes(words[: int(length)].tolist()) for words, length in pairs]

    def add(self, numbers: Tensor) -> None:
        with _peers_needed():
            dist.all_reduce(numbers, group=self._host_group if numbers.device.type == "cpu" else None)


@contextmanager
def _peers_needed() -> Iterator[None]:
    try:
        yield
    except RuntimeError as exc:
        raise PeersLost(str(exc)) from exc


class _Line:
    """Carries rank 0's hooks to this process and a request to stop back, as JSON over a pipe."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self._near, self.far_end = get_context("spawn").Pipe()
        self._thread = threading.Thread(target=self._serve, name="rank-line", daemon=True)
        self._failure: BaseException | None = None

    def __enter__(self) -> "_Line":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """The ranks are gone: hear the rest, then raise what a hook raised."""
        self.far_end.close()
        self._thread.join()
        self._near.close()
        if self._failure is not None:
            raise self._failure

    def _serve(self) -> None:
        told = False
        with suppress(EOFError, OSError):  # the end of the line
            while True:
                if self._near.poll(LOOK_SECONDS):
                    self._hand_over(json.loads(self._near.recv_bytes()))
                if not told and (self._failure is not None or self._hooks.should_stop()):
                    told = True
                    with suppress(OSError):  # too late, and there may be more to hear
                        self._near.send_bytes(b"stop")

    def _hand_over(self, message: list[Any]) -> None:
        kind, *values = message
        if self._failure is not None:
            return
        try:
            if kind == "progress":
                self._hooks.progress(*values)
            elif kind == "note":
                self._hooks.note(*values)
            else:
                self._hooks.checkpoint(Path(values[0]), values[1])
        except BaseException as exc:  # it belongs to the thread that waits for the ranks
            self._failure = exc


def _far_hooks(line: Connection) -> Hooks:
    """Rank 0's end of the line."""
    heard = threading.Event()

    def send(*message: Any) -> None:
        line.send_bytes(json.dumps(message).encode())

    def should_stop() -> bool:
        if not heard.is_set() and line.poll():
            line.recv_bytes()
            heard.set()
        return heard.is_set()

    return Hooks(
        progress=lambda phase, done, total, metrics: send("progress", phase, done, total, dict(metrics)),
        note=lambda event, message, data: send("note", event, message, dict(data)),
        checkpoint=lambda path, step: send("checkpoint", str(path), step),
        should_stop=should_stop,
    )


def write_error(folder: Path, rank: int, exc: BaseException) -> None:
    """Leave word of what ended a rank, for `cause_of`."""
    told = {
        "kind": type(exc).__name__ if isinstance(exc, PostqError) else "",
        "message": exc.message if isinstance(exc, PostqError) else f"{type(exc).__name__}: {exc}",
        "hint": exc.hint if isinstance(exc, PostqError) else "",
        "traceback": "".join(traceback.format_exception(exc)),
    }
    (folder / f"error-{rank}.json").write_text(json.dumps(told), encoding="utf-8")


def cause_of(exc: Any, folder: Path, *, ranks: int) -> Exception:
    """The error that ended the ranks, as it would have been raised without them; `exc` is the launcher's."""
    rank, failure = exc.get_first_failure()
    path = folder / f"error-{rank}.json"
    if not path.exists():
        code = failure.exitcode
        ending = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return RankLost(
            f"Rank {rank} of a training in {ranks} processes {ending}.",
            hint="Look into the runner's log and at the memory of the machine; the training can be resumed.",
            returncode=code,
        )
    told = json.loads(path.read_text(encoding="utf-8"))
    _log.error("A rank of the training failed.", rank=rank, ranks=ranks, exception=told["traceback"])
    if told["kind"]:
        kind: type[PostqError] = getattr(errors, told["kind"])
        return kind(told["message"], hint=told["hint"])
    return RuntimeError(told["message"])
