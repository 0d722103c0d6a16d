"""How good soft labels are, and the smoothing that several raters ask for."""
