"""Tiny models with planted entanglement: what an instrument is checked against."""
