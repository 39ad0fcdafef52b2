"""Foreign text that is shown in a terminal or on a page: what cannot be seen is spelled out."""

import unicodedata

# C0, C1 and DEL; line breaks and tabs are harmless
HARMLESS = "\n\t"
# invisible signs that turn the direction of what follows, also beyond the text itself
TURNING = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C}


def visible(text: str) -> str:
    r"""The text with control characters written as escapes; everything else stays.

    A text from somewhere else may hold escape sequences that move the cursor, rename the window
    or hide what follows. Line breaks and tabs stay, a carriage return before a line break goes.

    Example:
        >>> visible("red \x1b[31m, caf\u00e9\r\n")
        'red \\x1b[31m, café\n'
    """
    text = text.replace("\r\n", "\n")
    if text.isprintable():
        return text
    return "".join(_spelled(sign) for sign in text)


def _spelled(sign: str) -> str:
    if sign in HARMLESS:
        return sign
    code = ord(sign)
    if unicodedata.category(sign) in ("Cc", "Cs") or code in TURNING:
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    return sign
