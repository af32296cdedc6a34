"""Reports: what a job or a bundle is worth, from stored facts only; one HTML page, a table or JSON."""
