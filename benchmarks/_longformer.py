"""What the Longformer benchmarks share: the base-size model, documents, exact work counts, timed rounds."""

import gzip
import json
import os
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

import psutil
import torch
from torch import Tensor
from transformers import LongformerConfig, LongformerForSequenceClassification
from transformers.utils import logging

from postq.learning.longformer.products import multiply, pack_weight, packing_works

HIDDEN, INNER, HEADS, WINDOW, LONGEST = 768, 3_072, 12, 512, 4_096
TOKENS_PER_WORD = 4_096 / 3_000
"""The corpus' own estimate: 3,000 words reach 4,096 tokens of a RoBERTa vocabulary."""
CORPORA = Path(os.environ.get("POSTQ_TEST_CORPORA", Path(__file__).parents[2] / "shared" / "data"))


def base_model(
    *, layers: int = 12, dropout: float = 0.1, seed: int = 0
) -> LongformerForSequenceClassification:
    """A base-size stock classifier (12 × 768, window 512, 41 labels) with random weights, in eval mode."""
    logging.set_verbosity_error()
    torch.manual_seed(seed)
    config = LongformerConfig(
        vocab_size=50_265,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        attention_window=WINDOW,
        max_position_embeddings=LONGEST + 2,
        attention_probs_dropout_prob=dropout,
        hidden_dropout_prob=dropout,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        num_labels=41,
    )
    return LongformerForSequenceClassification(config).eval()


def documents(lengths: Sequence[int]) -> list[Tensor]:
    """Random token ids, one tensor per document."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(3, 50_000, (length,), generator=generator) for length in lengths]


def packed(docs: Sequence[Tensor]) -> tuple[Tensor, list[int]]:
    """Documents side by side, with their offsets."""
    offsets = [0]
    for doc in docs:
        offsets.append(offsets[-1] + len(doc))
    return torch.cat(list(docs)), offsets


def padded(docs: Sequence[Tensor], *, device: str = "cpu") -> dict[str, Tensor]:
    """The same documents as a padded batch with its mask."""
    ids = torch.nn.utils.rnn.pad_sequence(list(docs), batch_first=True, padding_value=1)
    return {"input_ids": ids.to(device), "attention_mask": (ids != 1).long().to(device)}


def real_lengths(documents: int) -> list[int]:
    """Token counts of judgments spread evenly over the sorted corpus, cut at 4,096, in mixed order."""
    file = CORPORA / "fca_catchphrases" / "train.jsonl.gz"
    if not file.exists():
        raise SystemExit(f"The corpus is missing: {file}. Set POSTQ_TEST_CORPORA to the folder that has it.")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        every = sorted(_tokens(json.loads(line)) for line in lines)
    chosen = [every[int((index + 0.5) * len(every) / documents)] for index in range(documents)]
    order = torch.randperm(documents, generator=torch.Generator().manual_seed(2)).tolist()
    return [chosen[index] for index in order]


def _tokens(document: Mapping[str, list[Mapping[str, list[str]]]]) -> int:
    words = sum(len(text.split()) for section in document["sections"] for text in section["paragraphs"])
    return max(2, min(LONGEST, round(words * TOKENS_PER_WORD) + 2))


def least_work(lengths: Sequence[int], *, layers: int = 12) -> float:
    """Floating-point operations that exact logits need; the last layer, one row each, is not counted."""
    projections = 2 * (4 * HIDDEN * HIDDEN + 2 * HIDDEN * INNER)
    total = 0
    for tokens in lengths:
        total += tokens * projections + 4 * HIDDEN * _pairs(tokens)
    return float(total * (layers - 1))


def _pairs(tokens: int) -> int:
    """(query, key) pairs of the window among tokens 1…n-1, and each one's pair with the global token."""
    local, reach = tokens - 1, min(WINDOW // 2, max(tokens - 2, 0))
    return local * (2 * reach + 1) - reach * (reach + 1) + local


def matmul_peak(*, size: int = 2_048, dtype: torch.dtype = torch.float32, device: str = "cpu") -> float:
    """Floating-point operations per second of the best square product, measured now.

    On a CPU in float32 the best of MKL's and oneDNN's, which torch both carries, and postq's own.
    """
    # Random data: zeros and ones would let a GPU run cooler and faster.
    own = torch.Generator(device).manual_seed(3)
    left, right = (torch.randn(size, size, generator=own, device=device).to(dtype) for _ in range(2))
    product = torch.empty_like(left)
    works: list[Callable[[], object]] = [lambda: torch.mm(left, right, out=product)]
    if device == "cpu" and dtype == torch.float32:
        works += _other_products(left, right)
    seconds = min(timed(work, device=device) for work in works for _ in range(5))
    return 2 * size**3 / seconds


def _other_products(left: Tensor, right: Tensor) -> list[Callable[[], object]]:
    """The same product on packed weights, where these functions exist."""
    weight, works = right.T.contiguous(), []
    if hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, left.shape[0])
        works.append(partial(torch.ops.mkldnn._linear_pointwise, left, packed, None, "none", [], ""))
    if packing_works():
        works.append(partial(multiply, left, pack_weight(weight)))
    return works


def timed(work: Callable[[], object], *, device: str = "cpu") -> float:
    """Wall-clock seconds of one run, the device's queue emptied before and after."""
    _settle(device)
    start = time.perf_counter()
    work()
    _settle(device)
    return time.perf_counter() - start


def _settle(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def rounds(
    works: Mapping[str, Callable[[], object]], count: int, *, device: str = "cpu", peak: Callable[[], float]
) -> list[dict[str, float]]:
    """`count` rounds, after one to warm up, of [peak, each work in turn]: seconds by name, and the peak."""
    for work in works.values():
        work()
    return [
        {"peak": peak(), **{name: timed(work, device=device) for name, work in works.items()}}
        for _ in range(count)
    ]


def cpu_rounds(works: Mapping[str, Callable[[], object]], count: int) -> list[dict[str, float]]:
    """`count` rounds, after one to warm up, of each work in turn: CPU seconds of this process by name.

    For one thread, whose CPU seconds others on the machine hardly lengthen; threads that wait burn them too.
    """
    for work in works.values():
        work()
    return [{name: _cpu_seconds(work) for name, work in works.items()} for _ in range(count)]


def _cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def least(seen: Sequence[Mapping[str, float]], name: str) -> float:
    """Least over the rounds, for CPU seconds, which a busy machine can only add to."""
    return min(entry[name] for entry in seen)


def middle(seen: Sequence[Mapping[str, float]], name: str) -> float:
    """Median over the rounds."""
    return statistics.median(entry[name] for entry in seen)


def ratios(seen: Sequence[Mapping[str, float]], slow: str, fast: str) -> tuple[float, float]:
    """(median, least) over the rounds of slow ÷ fast, each within its own round."""
    found = [entry[slow] / entry[fast] for entry in seen]
    return statistics.median(found), min(found)


@contextmanager
def products_by(way: str) -> Iterator[None]:
    """`POSTQ_PRODUCTS` while it lasts: `plain`, torch's own, or `packed`, postq's."""
    with patch.dict(os.environ, POSTQ_PRODUCTS=way):
        yield


def agree(stock: Tensor, ours: Tensor, *, most: float, what: str) -> None:
    """Stop the benchmark unless both are equal within `most`: unequal work is not compared."""
    off = float((stock - ours).abs().max())
    if not off <= most:
        raise SystemExit(
            f"Not equal work: the {what} differ by {off:.2g}, over {most:.0e}; nothing is recorded."
        )


def extra_memory(work: Callable[[], object]) -> int:
    """Bytes by which the resident size of this process rose, at its highest, during `work`."""
    before = psutil.Process().memory_info().rss
    mark = Path("/proc/self/clear_refs")
    if mark.exists():
        mark.write_text("5", encoding="ascii")  # sets the high-water mark back to the present size
    work()
    return _high_water() - before


def _high_water() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1_024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
