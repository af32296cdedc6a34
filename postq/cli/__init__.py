"""The terminal: Typer commands, one file per noun; the only room that prints."""
