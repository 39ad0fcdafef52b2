"""``python -m multimodal``: the same as the console script."""

from multimodal.cli import main

# worker processes import this module under another name
if __name__ == "__main__":
    main()
