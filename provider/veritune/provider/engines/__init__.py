"""Inference engines behind one Protocol; the daemon never names an engine."""
