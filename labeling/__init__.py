"""People and weak sources that answer: Label Studio, consensus, pre-labels."""
