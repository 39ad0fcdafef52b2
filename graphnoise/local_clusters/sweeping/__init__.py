"""The compiled part of rounding: volume and cut of every prefix of an order of nodes."""
