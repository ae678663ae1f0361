"""The contract: what is said, on which subject, in which bytes."""
