"""`python -m postq.worker --device DEVICE`: one worker on one device, in the foreground."""

import argparse
import os
import sys

import structlog

from postq.devices import parse_device
from postq.errors import PostqError
from postq.logs import configure_logging
from postq.settings import load_settings
from postq.worker.process import WorkerProcess


def main() -> int:
    """Run a worker until it is told to stop; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m postq.worker", description=__doc__)
    parser.add_argument("--device", default="cpu", help="cpu, cpu:N, mps, cuda, cuda:N or cuda:all")
    arguments = parser.parse_args()
    os.umask(os.umask(0o077) | 0o027)  # documents and models are nobody else's business
    log = structlog.get_logger()
    try:
        settings = load_settings()
        configure_logging(settings, component="worker")
        WorkerProcess(settings, parse_device(arguments.device)).run()
    except PostqError as exc:
        log.error(exc.message, hint=exc.hint)
        return exc.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
