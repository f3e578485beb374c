"""Numbers from text, straight from its bytes: the readers' inner loop."""

from __future__ import annotations

from numba import njit

_NEWLINE, _MINUS, _PLUS, _POINT, _ZERO, _NINE = 10, 45, 43, 46, 48, 57


@njit(cache=True)
def _number(buffer, position, end):  # type: ignore[no-untyped-def]
    """Return (value, position after it); position -1 if there is no number."""
    negative = False
    if position < end and (buffer[position] == _MINUS or buffer[position] == _PLUS):
        negative = buffer[position] == _MINUS
        position += 1
    mantissa, scale, digits, past_point = 0.0, 0, 0, False
    while position < end:
        byte = buffer[position]
        if _ZERO <= byte <= _NINE:
            mantissa = 10.0 * mantissa + (byte - _ZERO)
            digits += 1
            if past_point:
                scale -= 1
        elif byte == _POINT and not past_point:
            past_point = True
        else:
            break
        position += 1
    if digits == 0:
        return 0.0, -1
    # e, E, d, D: Fortran writes both.
    if position < end and (buffer[position] | 32) in (100, 101):
        position += 1
        exponent_negative = False
        if position < end and (buffer[position] == _MINUS or buffer[position] == _PLUS):
            exponent_negative = buffer[position] == _MINUS
            position += 1
        exponent = 0
        while position < end and _ZERO <= buffer[position] <= _NINE:
            exponent = 10 * exponent + (buffer[position] - _ZERO)
            position += 1
        scale += -exponent if exponent_negative else exponent
    # Dividing by an exact power of ten rounds once, as a careful reader does.
    value = mantissa / 10.0**-scale if scale < 0 else mantissa * 10.0**scale
    return -value if negative else value, position


@njit(cache=True)
def parse_rows(buffer, position, skip_words, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` with numbers, one row per line.

    Parameters
    ----------
    buffer : (n_bytes,) uint8
    position : int
        Start of the first line.
    skip_words : int
        Words at the start of each line to leave out.
    out : (n_rows, n_columns) float
        Filled; further words of a line are ignored.

    Returns
    -------
    int
        Start of the line after the last; -1 if the text ends or a word is no number. A last line
        without its newline counts as cut.
    """
    end = len(buffer)
    for row in range(out.shape[0]):
        column = -skip_words
        while column < out.shape[1]:
            while position < end and buffer[position] <= 32 and buffer[position] != _NEWLINE:
                position += 1
            if position >= end or buffer[position] == _NEWLINE:
                return -1
            if column >= 0:
                value, position = _number(buffer, position, end)
                if position < 0 or position >= end or buffer[position] > 32:
                    return -1
                out[row, column] = value
            else:
                while position < end and buffer[position] > 32:
                    position += 1
            column += 1
        while position < end and buffer[position] != _NEWLINE:
            position += 1
        if position >= end:
            return -1
        position += 1
    return position


@njit(cache=True)
def same_words(buffer, position, column, n_rows, labels):  # type: ignore[no-untyped-def]
    """Return the first row whose word in a column is not the label wanted; -1 if all are.

    Parameters
    ----------
    buffer : (n_bytes,) uint8
    position : int
        Start of the first line.
    column : int
        Number of the word, from 0.
    n_rows : int
    labels : (n_rows, width) uint8
        Words, filled up with zeros.
    """
    end, width = len(buffer), labels.shape[1]
    for row in range(n_rows):
        for word in range(column + 1):
            while position < end and buffer[position] <= 32 and buffer[position] != _NEWLINE:
                position += 1
            start = position
            while position < end and buffer[position] > 32:
                position += 1
            if word < column:
                continue
            for letter in range(width):
                here = buffer[start + letter] if start + letter < position else 0
                if here != labels[row, letter]:
                    return row
            if position - start > width:
                return row
        while position < end and buffer[position] != _NEWLINE:
            position += 1
        position += 1
    return -1
