"""Saving and loading the state of a training, and reading weights of every origin."""
