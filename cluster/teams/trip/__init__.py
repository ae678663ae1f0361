"""The reference team: it plans trips over a catalogue of sample data."""
