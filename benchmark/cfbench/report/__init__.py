"""One system's result as a page that needs nothing else, and its figures for a paper."""
