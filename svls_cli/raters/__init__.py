"""Several raters: votes, STAPLE, fusion, and how far they agree."""
