"""Ratings made elsewhere: tables from API models or from people, analysed as the package's own."""
