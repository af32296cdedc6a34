"""The help of a command, written to a standard output that may take no more, like any other answer."""

from typing import Any

from typer.core import TyperCommand, TyperGroup

from postq.cli.printing.terminal import answering


class HelpfulCommand(TyperCommand):
    """A command whose help is told to be cut short when it is."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help. Raises StorageUnavailable."""
        with answering():
            super().format_help(ctx, formatter)


class HelpfulGroup(TyperGroup):
    """A noun whose help is told to be cut short when it is."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help. Raises StorageUnavailable."""
        with answering():
            super().format_help(ctx, formatter)
