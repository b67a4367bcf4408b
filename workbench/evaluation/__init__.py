"""Data sets, scorers, plans, the runner and its verdict. Import from the modules; nothing heavy happens here."""
