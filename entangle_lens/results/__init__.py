"""What is kept of a study and shown: summary, tables, figures, report, run folder."""
