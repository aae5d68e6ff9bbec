"""What executes: runs the trials that the search decides on, under Ray Tune, in this process, or simulated on a fake clock.

Knows how to run trials, not which. Holds the only imports of Ray.
"""
