"""Calling a model: the device, the heads, one forward pass, and logits of any number of documents."""
