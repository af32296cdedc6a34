"""Rows of corpora, bundles and aliases, and the references people use for them."""
