"""``multimodal methods``: what can be given as ``--method`` and as an encoder."""

from labelnoise.console import friendly_errors, output, table


@friendly_errors
def methods() -> None:
    """List the methods of `clean` and the encoders: what each does, where it comes from."""
    from multimodal.encoders import ENCODERS
    from multimodal.methods import CLEANING_METHODS

    made = table("", "method", "what it does", "source")
    for name, entry in CLEANING_METHODS.items():
        made.add_row(name, entry.summary, entry.source)
    output().print(made, soft_wrap=False)
    output().print()
    made = table("", "encoder", "what it is")
    for name, entry in ENCODERS.items():
        made.add_row(name, entry.summary)
    output().print(made, soft_wrap=False)
