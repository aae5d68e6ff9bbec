"""What the terminal shows: progress while something runs, tables and plain text at its end."""
