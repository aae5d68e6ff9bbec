"""What executes: Ray. Knows how to run trials, not which."""
