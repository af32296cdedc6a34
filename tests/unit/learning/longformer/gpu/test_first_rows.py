"""Rows of global first tokens by four kernels, against the general way in float64."""

import copy

import pytest
import torch
from torch import nn

from postq.learning.longformer.global_rows import global_rows
from postq.learning.longformer.gpu.first_rows import rows_of_firsts
from postq.learning.longformer.gpu.norm import Normed
from tests.unit.learning.longformer.reference import stream


class Projections(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        for name in ("query_global", "key_global", "value_global"):
            layer = nn.Linear(hidden, hidden)
            nn.init.normal_(layer.weight, std=2.0 / hidden**0.5)
            setattr(self, name, layer)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("weights", [torch.float32, None])
@pytest.mark.parametrize(
    ("lengths", "heads", "hidden"), [([1, 40, 300, 2], 2, 32), ([3] * 35, 3, 48), ([129], 2, 256)]
)
def test_rows_equal_those_of_the_general_way(device, dtype, weights, lengths, heads, hidden):
    torch.manual_seed(sum(lengths))
    batch = stream(lengths, device=device)
    attention = Projections(hidden).to(device, weights or dtype)
    wide = torch.randn(batch.tokens, hidden).to(device, weights or dtype)
    states = Normed(wide, wide.to(dtype), wide[batch.first_index])
    with torch.no_grad():
        found = rows_of_firsts(states, attention, batch, heads=heads)
        exact = copy.deepcopy(attention).double()
        wanted = global_rows(states.narrow.double(), exact, batch, heads=heads, firsts=states.firsts.double())
        usual = global_rows(
            states.wide, attention, batch, heads=heads, stream=states.narrow, firsts=states.firsts
        )
    assert found.dtype == dtype
    off = (found.double() - wanted).norm() / wanted.norm()
    assert (
        off <= 1.5 * (usual.to(dtype).double() - wanted).norm() / wanted.norm() + torch.finfo(dtype).eps / 8
    )
