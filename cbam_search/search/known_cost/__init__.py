"""Known-cost search: costs are exact before training, so a model predicts accuracy alone. docs/known-cost.md explains it."""
