"""Parts of the benchmark of duplicates: sets with planted copies, peers, figures."""
