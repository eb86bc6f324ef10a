"""Where a sequence of undefined length ends, without making objects of what it holds."""

import struct

UNDEFINED = 0xFFFFFFFF
"""The length of a sequence or item that ends with a delimiter (PS3.5 7.5)."""

_DELIMITERS, _ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFE, 0xE000, 0xE00D, 0xE0DD
# Value representations with a length of 4 bytes (PS3.5 7.1.2).
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")


def end_of_sequence(content: bytes | memoryview, start: int, *, explicit: bool) -> int:
    """The offset of the delimiter that ends a sequence of undefined length.

    Args:
        content: a data set, little endian.
        start: offset of the sequence's first item.
        explicit: value representations are written; within UN (PS3.5 6.2.2) they are not.

    Raises:
        ValueError: what is there is no sequence, or it does not end.
    """
    # for each sequence or item that is open: whether it is an item, whether types are written
    inside = [(False, explicit)]
    at = start
    while at + 8 <= len(content):
        group, number, length = struct.unpack_from("<HHI", content, at)
        in_item, typed = inside[-1]
        head = 8
        if group == _DELIMITERS and number == _ITEM and not in_item:
            if length == UNDEFINED:
                inside.append((True, typed))
                length = 0
        elif group == _DELIMITERS and number == (_ITEM_END if in_item else _SEQUENCE_END):
            inside.pop()
            if not inside:
                return at
            length = 0
        elif in_item:
            if typed:
                kind = bytes(content[at + 4 : at + 6])
                if kind in _LONG and at + 12 <= len(content):
                    head, length = 12, struct.unpack_from("<I", content, at + 8)[0]
                    typed = kind != b"UN"
                else:
                    length = struct.unpack_from("<H", content, at + 6)[0]
            if length == UNDEFINED:
                inside.append((False, typed))
                length = 0
        else:
            raise ValueError("a sequence without items")
        at += head + length
    raise ValueError("a sequence without an end")
