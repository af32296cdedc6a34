"""Longformer checkpoints of transformers, run packed and fast at equal outputs."""

from postq.learning.longformer.batches import best_token_budget, plan_batches
from postq.learning.longformer.choice import AttentionName, Choice
from postq.learning.longformer.machine import bfloat16_speedup, fastest_threads
from postq.learning.longformer.model import FastLongformer, accelerate
from postq.learning.longformer.packing import PackedBatch

__all__ = [
    "AttentionName",
    "Choice",
    "FastLongformer",
    "PackedBatch",
    "accelerate",
    "best_token_budget",
    "bfloat16_speedup",
    "fastest_threads",
    "plan_batches",
]
