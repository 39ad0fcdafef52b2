"""The parts of the neighbour search: see `multimodal.neighbours`."""
