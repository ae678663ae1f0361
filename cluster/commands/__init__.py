"""The commands of `metier`, one file for each noun. Each takes parsed options and returns an exit status."""
