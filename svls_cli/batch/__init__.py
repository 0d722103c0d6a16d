"""Many cases: worker processes or a cluster, records, progress."""
