"""Model engines behind one Protocol."""
