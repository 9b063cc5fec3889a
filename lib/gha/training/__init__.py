"""Losses, metrics, the one training loop, checkpoints and run folders. Knows no command line."""
