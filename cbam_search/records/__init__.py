"""The truth of a study: what was asked, what was trained, and what came of it."""
