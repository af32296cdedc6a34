"""`postq corpus`: documents read, looked at, checked and removed."""
