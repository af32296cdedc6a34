"""Position tables: how many tokens a model can place, and longer tables by tiling the learned rows."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from postq.errors import BundleUnusable

TABLE_NAMES = ("position_embeddings", "embed_positions")


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionTable:
    """A learned table of absolute positions inside a model."""

    owner: nn.Module
    """The embeddings module that holds the table."""
    name: str
    table: nn.Embedding
    offset: int
    """Rows before the first real position: RoBERTa and Longformer start after their padding id."""

    @property
    def tokens(self) -> int:
        """The longest sequence, special tokens counted, that the table can place."""
        return self.table.num_embeddings - self.offset


def find_position_table(model: nn.Module) -> PositionTable | None:
    """The learned position table of an encoder, or None where positions are relative or rotary."""
    for owner in model.modules():
        for name in TABLE_NAMES:
            table = getattr(owner, name, None)
            if isinstance(table, nn.Embedding):
                offset = 0 if table.padding_idx is None else int(table.padding_idx) + 1
                return PositionTable(owner=owner, name=name, table=table, offset=offset)
    return None


def position_capacity(model: nn.Module) -> int:
    """The longest sequence the model takes, special tokens counted."""
    found = find_position_table(model)
    if found is not None:
        return found.tokens
    config: Any = model.config
    stated = int(getattr(config, "max_position_embeddings", None) or 0)
    return stated if stated > 0 else 2**31 - 1  # XLNet's -1 says that there is no limit


def extend_positions(model: nn.Module, *, tokens: int) -> bool:
    """Make room for `tokens` positions by repeating the learned rows; True when the table grew.

    Tiling keeps every short distance as it was learned, which is what windowed attention reads (Beltagy et
    al. 2020, section 5). Rotary models have no table; only their stated limit is raised. Raises
    BundleUnusable for models that build more from that limit, or place tokens by something else.
    """
    if tokens <= position_capacity(model):
        return False
    found = find_position_table(model)
    config: Any = model.config
    plain = found is None or type(found.table) is nn.Embedding
    if getattr(config, "relative_attention", False) or not plain:
        raise BundleUnusable(
            f"The positions of a {config.model_type} model cannot be extended.",
            hint="Read long texts in chunks (long_text=chunk_max), or lower max_tokens.",
        )
    if found is None:
        config.max_position_embeddings = tokens
        return True
    setattr(found.owner, found.name, _tiled(found, tokens))
    _regrow_buffers(found.owner, tokens + found.offset)
    config.max_position_embeddings = tokens + found.offset
    return True


def _tiled(found: PositionTable, tokens: int) -> nn.Embedding:
    old = found.table.weight.detach()
    learned = old[found.offset :]
    repeats = -(-tokens // len(learned))
    weight = torch.cat([old[: found.offset], learned.repeat(repeats, 1)[:tokens]])
    table = nn.Embedding(weight.shape[0], weight.shape[1], padding_idx=found.table.padding_idx)
    with torch.no_grad():
        table.weight.copy_(weight)
    return table


def _regrow_buffers(owner: nn.Module, rows: int) -> None:
    device = next(owner.parameters()).device
    if isinstance(getattr(owner, "position_ids", None), torch.Tensor):
        owner.register_buffer("position_ids", torch.arange(rows, device=device)[None], persistent=False)
    if isinstance(getattr(owner, "token_type_ids", None), torch.Tensor):
        zeros = torch.zeros((1, rows), dtype=torch.long, device=device)
        owner.register_buffer("token_type_ids", zeros, persistent=False)
