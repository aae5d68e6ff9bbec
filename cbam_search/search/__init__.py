"""What decides: proposals and what becomes of them. Knows nothing of where trials run."""
