"""Web images with their texts: text prototypes that clean labels. Not part of this release yet.

The command line ``multimodal`` says so. What will stand here is built on `labelnoise`: prototype
scores, neighbour search, `labelnoise.decide` and the audit are there already.
"""
