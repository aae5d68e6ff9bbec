"""Trains one network on one device, an epoch at a time, with checkpoints.

The same seed and recipe give the same curve. Knows nothing of Ray or of studies.
"""
