"""`postq status`, `events`, `verify`, `cancel` and `retry`: submitted jobs, and staying with them."""
