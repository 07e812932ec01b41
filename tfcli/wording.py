"""How messages say how many there are of something."""


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun, as in "1 line" and "2,000 lines"; `plural` where it is not the noun and an s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
