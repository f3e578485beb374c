"""Batch schedulers as data: configuration folders, and checks of them."""
