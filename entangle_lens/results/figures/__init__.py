"""The figures, as plotly objects."""
