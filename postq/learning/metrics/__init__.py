"""Multi-label metrics by scikit-learn's definitions, over a fixed list of labels."""
