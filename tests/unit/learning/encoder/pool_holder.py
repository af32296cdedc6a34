"""A process that holds tokenising processes until it is killed: `python -m … BACKBONE`."""

import sys
import threading

from transformers import AutoTokenizer

from postq.learning.encoder.tokeniser_pool import TokeniserPool
from postq.learning.encoder.tokens import TextTokeniser


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
