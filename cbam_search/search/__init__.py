"""What decides: which architecture is tried next, and which trial is stopped early.

Never knows where trials run.
"""
