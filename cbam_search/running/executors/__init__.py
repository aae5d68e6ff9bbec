"""Where evaluations run: under Ray Tune, in this process, or simulated on a fake clock.

One interface, `Executor`, and one contract suite for all of them.
"""
