"""Synthetic judicial opinions with posture labels: realistic enough to train on, equal for equal seeds."""

from postq.corpus.synthetic.corpus import SyntheticFacts, write_synthetic_corpus

__all__ = ["SyntheticFacts", "write_synthetic_corpus"]
