"""Command lines: demo, training, reenactment, evaluation. Importing this imports nothing heavy."""
