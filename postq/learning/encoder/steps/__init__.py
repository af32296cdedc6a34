"""Optimizer steps: what they work with, the loss, the rate, and which documents meet in one."""
