"""What is printed and how: the two streams, tables, listings, figures, and the wording of quantities."""
