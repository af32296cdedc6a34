"""The terminal: Typer commands, a folder per noun and a file per command; the only room that prints."""
