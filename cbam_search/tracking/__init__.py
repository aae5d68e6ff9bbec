"""Shows a study in MLflow, as a view of its records that can be rebuilt at any time.

Holds the only imports of MLflow.
"""
