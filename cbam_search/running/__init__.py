"""What executes: runs the trials that the search decides on, with Ray Tune and its workers.

Knows how to run trials, not which. Holds the only imports of Ray.
"""
