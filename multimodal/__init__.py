"""Cleaning web image-text corpora with cross-modal prototypes."""
