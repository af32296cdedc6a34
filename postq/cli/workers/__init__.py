"""`postq worker` and `postq up`: workers as processes, who is alive, and hints that there is work."""
