"""Training a backbone's own weights: data, network, objective, epochs, checkpoints."""
