"""Behaviour: what each actor decides and does."""
