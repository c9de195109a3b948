"""A trained model on disk and in memory: run folder, weights, networks, sampling."""
