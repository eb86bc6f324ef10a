"""Sizes of files and of memory, in words."""


def bytes_in_words(size: int) -> str:
    """Bytes in words.

    >>> bytes_in_words(23_456_000_000), bytes_in_words(1_200_000)
    ('23.5 GB', '1.2 MB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
