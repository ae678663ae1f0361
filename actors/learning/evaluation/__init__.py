"""How good the small models are: every figure beside what it cost, its interval, and the arms it must beat."""
