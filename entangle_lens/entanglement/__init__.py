"""The science: how entanglement is measured, located, repaired and judged."""
