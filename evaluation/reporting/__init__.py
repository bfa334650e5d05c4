"""Self-contained pages from scores or a benchmark: words, tables, pictures."""
