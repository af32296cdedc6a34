"""The rows of global first tokens in four Triton kernels, where no gradient is wanted.

The same as `global_rows`, which takes a dozen small kernels more: for a GPU a moment each, for the
processor that starts them a quarter of its time.
"""

from math import sqrt
from typing import Any

import torch
from torch import Tensor

from postq.learning.longformer.gpu.first_rows_kernels import answer, ask
from postq.learning.longformer.gpu.norm import Normed
from postq.learning.longformer.gpu.pool import pool_documents
from postq.learning.longformer.packing import PackedBatch

DOCUMENTS, COLUMNS, WARPS, STAGES = 16, 64, 8, 3
"""How the products are cut, and what the kernels are compiled for."""


def rows_of_firsts(states: Normed, attention: Any, batch: PackedBatch, *, heads: int) -> Tensor:
    """(docs, heads, width) attention output of the first tokens, in the products' number format.

    `attention` holds the stock `*_global` projections; sums are float32. For streams that `can_pool`.
    """
    documents, hidden = states.firsts.shape
    width, grid = hidden // heads, (-(-documents // DOCUMENTS), heads)
    query, key, value = attention.query_global, attention.key_global, attention.value_global
    cut = {"WIDTH": width, "HIDDEN": hidden, "DOCUMENTS": DOCUMENTS, "COLUMNS": COLUMNS}
    compiled = {"num_warps": WARPS, "num_stages": STAGES}
    asked, keyed, valued = (layer.weight.contiguous() for layer in (query, key, value))
    asking = states.narrow.new_empty(documents, heads, hidden)
    ask[grid](
        states.firsts, asked, query.bias, keyed, asking, documents, 1.0 / sqrt(width),
        **cut, **compiled,
    )  # fmt: skip
    pooled = pool_documents(states.narrow, asking, batch)
    rows = torch.empty(documents, heads, width, dtype=states.narrow.dtype, device=pooled.device)
    answer[grid](pooled, valued, value.bias, rows, documents, **cut, **compiled)
    return rows
