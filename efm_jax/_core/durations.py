"""Times in words."""


def in_words(seconds: float) -> str:
    """Say how long something takes, in the largest unit of which it is more than one and a half.

    Examples:
        >>> in_words(12.3), in_words(480.0), in_words(1_036_800.0)
        ('12 s', '8 min', '12 days')
    """
    units = [("days", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0)]
    name, unit = next((name, unit) for name, unit in units if seconds >= 1.5 * unit or unit == 1.0)
    return f"{seconds / unit:.0f} {name}"
