"""Texts to tokens: the long-text strategies, one failure at a time, and processes that tokenise ahead."""
