"""One file per revision, oldest first; `vNNNN_what.py` holds revision NNNN."""
