"""Tokenising processes as tests see them; `python -m … BACKBONE` holds one until it is killed."""

import sys
import threading

import psutil
from transformers import AutoTokenizer

from postq.learning.encoder.tokens.pool import TokeniserPool
from postq.learning.encoder.tokens.tokeniser import TextTokeniser


def helpers() -> set[psutil.Process]:
    """This process' children that compute, without the one that tracks their semaphores."""
    children = psutil.Process().children()
    return {child for child in children if any("spawn_main" in word for word in child.cmdline())}


def main() -> None:
    """Start the processes, say so, and stay."""
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    pool = TokeniserPool(TextTokeniser(tokenizer, max_tokens=16, piece_tokens=16), processes=1)
    pool.encode(["court"])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
