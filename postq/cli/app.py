"""The application: global flags, every command in its panel, and the one entry point `main`."""

import atexit
import gc
import os
import sys
from typing import Annotated

import typer

from postq import __version__
from postq.cli import options
from postq.cli.bundles import commands as bundles
from postq.cli.bundles.rethreshold import rethreshold
from postq.cli.command import attach
from postq.cli.corpora import commands as corpus
from postq.cli.failing import FailingClearly
from postq.cli.fleet.up import up
from postq.cli.invocation import Invocation
from postq.cli.jobs.cancel import cancel
from postq.cli.jobs.events import events
from postq.cli.jobs.retry import retry
from postq.cli.jobs.status import status
from postq.cli.jobs.verify import verify
from postq.cli.judging.compare import compare
from postq.cli.judging.drift import drift
from postq.cli.judging.report import report
from postq.cli.predictions import commands as predictions
from postq.cli.printing.terminal import answering, ready_streams
from postq.cli.submitting import schedule
from postq.cli.submitting.classify import classify_corpus
from postq.cli.submitting.evaluate import submit_eval
from postq.cli.submitting.train import submit_train
from postq.cli.upkeep import database
from postq.cli.upkeep.doctor import doctor
from postq.cli.upkeep.prune import prune
from postq.cli.workers.worker import worker

COLLECT_EVERY = 200_000
"""New objects between two looks for garbage: imports make 150,000 and leave none."""
SUBMIT = "Submit a job"
FOLLOW = "Follow and steer jobs"
JUDGE = "Judge what was learned"
STORE = "Corpora, bundles, predictions"
RUN = "Run and look after postq"

app = typer.Typer(
    name="postq",
    cls=FailingClearly,
    help="Durable batch jobs for multi-label classification of long legal documents.",
    epilog="New here? `postq doctor`, `postq corpus add`, `postq submit-train`, `postq up`.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:  # noqa: FBT001  (Typer calls it with the flag's value)
    if wanted:
        with answering():
            sys.stdout.write(f"postq {__version__}\n")
        raise typer.Exit


@app.callback()
def remember(
    ctx: typer.Context,
    *,
    home: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Where postq keeps its files.", show_default=False)
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="SQL database. A password is safer in POSTQ_DATABASE_URL than here.",
            show_default=False,
        ),
    ] = None,
    broker_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Broker for nudges: memory://, redis://, amqp://.", show_default=False
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Settings file instead of ./postq.toml.", show_default=False),
    ] = None,
    verbose: Annotated[
        bool, options.switch("--verbose", "-v", help="Show log lines and the tracebacks of errors.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", callback=_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Remember the global flags for whichever command follows."""
    del version
    given = {"home": home, "database_url": database_url, "broker_url": broker_url}
    ctx.obj = Invocation(
        flags={name: value for name, value in given.items() if value is not None},
        config=config,
        verbose=verbose,
    )


attach(app, submit_train, submit_eval, classify_corpus, panel=SUBMIT)
app.add_typer(schedule.app, name="schedule", rich_help_panel=SUBMIT)
attach(app, status, events, verify, cancel, retry, panel=FOLLOW)
attach(app, report, compare, drift, rethreshold, panel=JUDGE)
app.add_typer(corpus.app, name="corpus", rich_help_panel=STORE)
app.add_typer(bundles.app, name="bundles", rich_help_panel=STORE)
app.add_typer(predictions.app, name="predictions", rich_help_panel=STORE)
attach(app, up, worker, doctor, prune, panel=RUN)
app.add_typer(database.app, name="db", rich_help_panel=RUN)


def main() -> None:
    """Run the command line; the console script `postq` is this."""
    os.umask(os.umask(0o077) | 0o027)  # documents and models are nobody else's business
    ready_streams()
    # Looking through every imported object, now and once more at the end, took a third of `postq status`.
    gc.set_threshold(COLLECT_EVERY)
    atexit.register(gc.freeze)
    app(prog_name="postq")
