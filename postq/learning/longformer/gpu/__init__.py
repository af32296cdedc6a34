"""Triton kernels for CUDA GPUs; nothing here is imported where there is no Triton."""
