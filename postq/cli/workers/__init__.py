"""`postq worker`: one worker as a process, who is alive, and hints that there is work."""
