"""The one setting, checked."""


def check_momentum(momentum: float) -> None:
    """Raise ValueError unless `momentum` lies in ``[0, 1]``."""
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum must lie in [0, 1], got {momentum}")
