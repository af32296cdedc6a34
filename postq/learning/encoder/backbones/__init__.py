"""Backbones: loaded and checked, read for label names, converted, or made small for tests."""
