"""Composition: where actors run, how many, from which file."""
