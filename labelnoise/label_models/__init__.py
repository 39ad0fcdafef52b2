"""From the votes of several fallible annotators to soft labels; arrays in, arrays out."""
