"""Teams that ship with Metier."""
