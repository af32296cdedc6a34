"""Predictions: written in bulk under a shard's fence, asked for, exported, digested."""
