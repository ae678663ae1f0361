"""Public data sets, read from a folder that is given: none is part of this repository."""
