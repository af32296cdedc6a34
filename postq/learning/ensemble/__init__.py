"""Ensembles: bundles combined into one that scores like any other."""
