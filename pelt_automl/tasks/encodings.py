"""From a file's bytes to its text: which encoding it has is found out in a fixed order, and said.

1. A byte-order mark: UTF-8, UTF-16 or UTF-32.
2. Text that is UTF-8 throughout, and has no zero bytes; but ISO-2022 and HZ, which are ASCII, by their escape sequences.
3. Zero bytes: UTF-16 without a mark, in the byte order in which there are more spaces, line ends and delimiters.
4. Text that is UTF-8 but for some bytes is a damaged file, and is refused with its lines.
5. Else it is windows-1252, as Windows writes in the West, unless the letters are those of another language in Latin letters, or
   charset-normalizer finds another encoding clearly more plausible. Others that are about as plausible are named in the note.

A short file can't be told for sure by anyone, hence the note, and the setting that overrides it.
"""

import codecs
import re
from collections.abc import Sequence
from pathlib import Path

from pelt_automl.errors import SettingsError, TaskError
from pelt_automl.tasks.tables import positions

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8 with a byte-order mark"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
WESTERN = "cp1252"
CANDIDATES = {
    WESTERN: "windows-1252",
    "cp1250": "windows-1250",
    "cp1251": "windows-1251",
    "cp1253": "windows-1253",
    "cp1254": "windows-1254",
    "cp1255": "windows-1255",
    "cp1256": "windows-1256",
    "cp1257": "windows-1257",
    "koi8_r": "KOI8-R",
    "cp850": "IBM850 (DOS)",
    "mac_roman": "Mac Roman",
    "cp932": "Shift JIS",
    "euc_jp": "EUC-JP",
    "gb18030": "GB18030",
    "big5": "Big5",
    "cp949": "EUC-KR",
}
"""What charset-normalizer may choose from, by Python's name: the encodings that files have where they aren't UTF-8."""
CLEARLY = 0.05
"""By so much less "mess", in charset-normalizer's measure (0 to 1), another encoding has to be to win over windows-1252."""
MOST_NAMED = 3
TELLING = 1.5
"""More letters than this have to be wrong in windows-1252."""
SAMPLE = 65536
"""Bytes that are looked at, of lines that aren't plain ASCII."""
LOOKED_AT = 2**20
"""Bytes that tell the byte order."""
_IN_A_WORD = re.compile(r"[^\W\d_][¡¢£¤¥¦¨ª¬¯±¶¸¹³¼¾¿][^\W\d_]|[^\W\d_](?<!\bm)(?<!\b[cdk]m)(?<!\dm)[¹³¿](?!\w)")  # noqa: RUF001
"""Signs that stand between letters where Polish or Czech is read as windows-1252; cubic meters are none."""
_WEST = (  # in small letters; a text may have letters of one language and signs
    "àâæçéèêëîïôœùûüÿ",  # French
    "äöüß",  # German
    "áéíñóúüªº",  # Spanish
    "àáâãçéêíóôõúüªº",  # Portuguese
    "àèéìíîòóùúªº",  # Italian
    "àçèéíïòóúü",  # Catalan
    "áéíóúàèëïöüêçñ",  # Dutch
    "åäöéüà",  # Swedish, Finnish
    "æøåéèêóòôàü",  # Danish, Norwegian
    "áðéíóúýþæöø",  # Icelandic, Faroese
    "äöõüšž",  # Estonian
)
_EAST = (
    ("cp1250", "áčďéěíňóřšťúůýž"),  # Czech
    ("cp1250", "áäčďéíĺľňóôŕšťúýž"),  # Slovak
    ("cp1250", "ąćęłńóśźż"),  # Polish
    ("cp1250", "áéíóöőúüű"),  # Hungarian
    ("cp1250", "čćđšž"),  # Croatian, Slovene
    ("cp1250", "ăâîşţ"),  # Romanian
    ("cp1254", "çğıi̇öşüâîû"),  # Turkish  # noqa: RUF001
    ("cp1257", "ąčęėįšųūž"),  # Lithuanian
    ("cp1257", "āčēģīķļņšūž"),  # Latvian
    ("cp1257", "äöõüšž"),  # Estonian
)
"""Languages in Latin letters that windows-1252 spoils without a sign of it."""
_SHARE = 0.95
"""Of the letters beyond ASCII, at least so many are of the language: the rest are foreign names."""
_ESCAPED = re.compile(rb"\x1b(?:\$[@ABC()]|\([BIJ]|\.A)")
_HZ = re.compile(rb"~\{(?:[\x21-\x77][\x21-\x7e])+~\}")
_SEVEN_BITS = (("iso2022_kr", "ISO-2022-KR"), ("iso2022_jp_2", "ISO-2022-JP"), ("iso2022_jp_ext", "ISO-2022-JP"))
_SIGNS = re.compile("[^\\x00-\\x7f\\w\u2013\u2014\u2018\u2019\u201c\u201d\u201e\u2026\u20ac\u2022\u00b0\u00b1\u00bf\u00a1\u00a0]|\u0192")
"""Signs that are rare in the West, or frequent bytes of East Asian text: with these, letters alone don't tell."""
_FOREIGN_RUN = re.compile(r"[^\W\x00-\x7f]{3}")
"""Three such letters in a row stand in no word of a language in Latin letters, but in every one of another script."""
_CONTROLS = re.compile(rb"[\x80-\x9f]")
_BETWEEN_WORDS = frozenset(b' \t\r\n,;|"')
_BROKEN = re.compile("[\udc80-\udcff]")
"""What Python makes of bytes that aren't UTF-8, if it is asked to keep them."""


def decode(raw: bytes, path: Path, encoding: str | None = None) -> tuple[str, str, str]:
    """The text without a byte-order mark, Python's name of its encoding, and a note about it (empty for plain UTF-8).

    `encoding` overrides what would be found out. Raises `SettingsError` for an encoding that Python doesn't know, `TaskError` when the
    bytes aren't text in it, or in any.
    """
    if encoding is not None:
        return _as_told(raw, path, encoding)
    for mark, marked, name in MARKS:
        if raw.startswith(mark):
            return _strictly(raw, path, marked, name), marked, f"{path}: read as {name}"
    if b"\0" in raw:
        return _utf16(raw, path)
    if raw.isascii() and (_ESCAPED.search(raw) or _HZ.search(raw)):
        return _seven_bits(raw, path)
    try:
        return raw.decode("utf-8"), "utf-8", ""
    except UnicodeDecodeError:
        _refuse_damaged_utf8(raw, path)
    codec, others = _plausible(raw)
    if codec is None:
        first = next(i for i, byte in enumerate(raw) if byte > 127)
        raise TaskError(f"{path}: {_line(raw, first)} is not UTF-8 text, and its encoding can't be told; name it (--encoding)")
    doubt = f"it may also be {' or '.join(CANDIDATES[other] for other in others)}: check a text, or say --encoding"
    note = f"{CANDIDATES[codec]}; {doubt}" if others else f"{CANDIDATES[codec]} (--encoding overrides it)"
    return raw.decode(codec), codec, f"{path}: it isn't UTF-8; read as {note}"


def known_encoding(encoding: str) -> str | None:
    """Python's name of a text encoding; None when it knows none of that name."""
    try:
        found = codecs.lookup(encoding.strip())
        "".encode(found.name)
    except (LookupError, ValueError):
        return None
    return found.name


def no_encoding(encoding: str) -> str:
    """What is said of a name that Python doesn't know."""
    return f"there is no encoding {encoding!r}; common ones are utf-8, windows-1252, utf-16, windows-1251, shift_jis"


def _as_told(raw: bytes, path: Path, encoding: str) -> tuple[str, str, str]:
    codec = known_encoding(encoding)
    if codec is None:
        raise SettingsError(no_encoding(encoding))
    mark = next((own for bom, own, _ in MARKS if raw.startswith(bom) and own.removesuffix("-sig") == codec), None)
    if codec == "iso8859-1" and _CONTROLS.search(raw) and _reads(raw, WESTERN):
        # What is called Latin-1 and has quotes, dashes or the euro sign is windows-1252, as every browser takes it.
        note = f"{path}: it has characters that {encoding} lacks; read as windows-1252, which is the same but for them"
        return raw.decode(WESTERN), WESTERN, note
    if codec == "utf-16" and mark is None:  # Python would take the machine's byte order
        codec = _byte_order(raw)
    text = _strictly(raw, path, mark or codec, encoding).removeprefix("\ufeff")
    return text, mark or codec, f"{path}: read as {encoding}, as asked for"


def _strictly(raw: bytes, path: Path, codec: str, name: str) -> str:
    try:
        return raw.decode(codec)
    except UnicodeDecodeError as error:
        byte = raw[error.start] if error.start < len(raw) else 0
        line = f"line {_lines(raw[: error.start], codec)}"
        raise TaskError(f"{path}: {line} is not {name} text (byte 0x{byte:02x}); save the file as UTF-8, or name its encoding") from error
    except UnicodeError as error:  # of the codecs for names of Internet hosts, which don't say where
        raise TaskError(f"{path}: is not {name} text ({error}); save the file as UTF-8, or name its encoding") from error


def _lines(raw: bytes, codec: str) -> int:
    try:
        return raw.decode(codec, errors="replace").count("\n") + 1
    except UnicodeError:
        return raw.count(b"\n") + 1


def _line(raw: bytes, position: int) -> str:
    return f"line {raw[:position].count(10) + 1}"


def _byte_order(raw: bytes) -> str:
    """The order in which there are more spaces, line ends and delimiters; without any, the one with more zeros behind other bytes."""
    raw = raw[:LOOKED_AT]
    first, second = raw[::2], raw[1::2]
    little = sum(low in _BETWEEN_WORDS and not high for low, high in zip(first, second, strict=False))
    big = sum(low in _BETWEEN_WORDS and not high for high, low in zip(first, second, strict=False))
    if little == big:
        little, big = second.count(0), first.count(0)
    return "utf-16-le" if little >= big else "utf-16-be"


def _utf16(raw: bytes, path: Path) -> tuple[str, str, str]:
    codec = _byte_order(raw)
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        if told := next((name for name in ("utf-32-le", "utf-32-be") if _reads(raw, name)), None):
            raise TaskError(f"{path}: has zero bytes and no byte-order mark, and looks like UTF-32: name it, --encoding {told}")
        raise TaskError(f"{path}: {_line(raw, raw.index(0))} has zero bytes: it is no text file, or a damaged one; save it as UTF-8")
    return text, codec, f"{path}: read as UTF-16 without a byte-order mark, {codec[-2:].upper()} (--encoding overrides it)"


def _seven_bits(raw: bytes, path: Path) -> tuple[str, str, str]:
    """East Asian text in ASCII bytes, with marks where the characters change."""
    escaped = _ESCAPED.search(raw)
    for codec, name in _SEVEN_BITS if escaped else (("hz", "HZ"),):
        if _reads(raw, codec) and "\x1b" not in (text := raw.decode(codec)):
            return text, codec, f"{path}: read as {name} (--encoding overrides it)"
    if escaped is None:
        return raw.decode("ascii"), "utf-8", f"{path}: read as UTF-8; it may also be HZ: check a text, or say --encoding hz"
    raise TaskError(f"{path}: {_line(raw, escaped.start())} has escape sequences of ISO-2022, but isn't text in it; name it (--encoding)")


def _refuse_damaged_utf8(raw: bytes, path: Path) -> None:
    """What holds more whole UTF-8 characters than broken ones is UTF-8: any other encoding would spoil all of them."""
    text = raw.decode("utf-8", errors="surrogateescape")
    broken = len(_BROKEN.findall(text))
    whole = len(text) - len(text.encode("ascii", errors="ignore")) - broken
    if whole > broken:
        lines = [number for number, line in enumerate(text.split("\n"), start=1) if _BROKEN.search(line)]
        byte = ord(_BROKEN.search(text)[0]) - 0xDC00  # type: ignore[index]
        raise TaskError(
            f"{path}: {positions(lines)}: not UTF-8 text (byte 0x{byte:02x}), though the rest of the file is; "
            "repair or drop what is there, or name the encoding (--encoding)"
        )


def _plausible(raw: bytes) -> tuple[str | None, list[str]]:
    """One of `CANDIDATES` that all of the bytes can be read in, or None; and others that are about as plausible."""
    from charset_normalizer import from_bytes

    telling = b"\n".join(line for line in raw.split(b"\n") if not line.isascii())[:SAMPLE]
    readable = [codec for codec in CANDIDATES if _reads(raw, codec)]
    latin, near = _by_alphabet(telling, readable)
    if latin:
        return latin, near
    found = list(from_bytes(telling, cp_isolation=readable)) if readable else []
    # Encodings that give the same text are one match.
    mess = {codec: match.chaos for match in found for codec in match.could_be_from_charset if codec in readable}
    best = min(mess.values(), default=1.0)
    spoiled = WESTERN not in readable or _spoils_words(telling.decode(WESTERN))
    if not spoiled and (not mess or mess.get(WESTERN, 1.0) <= best + CLEARLY):
        return WESTERN, near
    ordered = [match.encoding for match in found if match.encoding in readable and (match.encoding != WESTERN or len(mess) == 1)]
    if not ordered:
        return (WESTERN, near) if WESTERN in readable else (None, [])
    # Where windows-1252 is out, a short text fits several others: they are named unless they give the same text.
    first, *rest = ordered
    text = telling.decode(first, errors="replace")
    close = [codec for codec in rest if mess[codec] <= mess[first] + CLEARLY and telling.decode(codec, errors="replace") != text]
    return first, close[:MOST_NAMED]


def _by_alphabet(telling: bytes, readable: Sequence[str]) -> tuple[str | None, list[str]]:
    """The encoding by the letters of a language in Latin letters, if that can be told; and others that fit as well."""
    if WESTERN not in readable:
        return None, []
    western = telling.decode(WESTERN, errors="replace")
    fits: dict[str, float] = {}
    for codec, alphabet in _EAST:
        if codec in readable:
            text = telling.decode(codec, errors="replace")
            if any(one != other for one, other in zip(text, western, strict=True) if one.isalpha()):
                fits[codec] = max(fits.get(codec, 0.0), _fit(text, western, alphabet))
    letters = sum(character > "\x7f" and character.isalpha() for character in western)
    west = max(_fit(western, western, alphabet) for alphabet in _WEST)
    is_western = west >= _SHARE and not (_FOREIGN_RUN.search(western) or _SIGNS.search(western) or _spoils_words(western))
    ordered = sorted((codec for codec, fit in fits.items() if fit >= _SHARE), key=fits.__getitem__, reverse=True)
    gain = fits[ordered[0]] - west if ordered else 0.0
    if gain < CLEARLY or gain * letters < TELLING:
        return WESTERN if is_western else None, [codec for codec in ordered if fits[codec] >= west]
    return ordered[0], [codec for codec in ordered[1:] if fits[codec] > fits[ordered[0]] - CLEARLY]


def _fit(text: str, western: str, alphabet: str) -> float:
    """The share of characters beyond ASCII that are letters of the alphabet; signs count only where windows-1252 has others."""
    own = [one for one, other in zip(text, western, strict=True) if one > "\x7f" and (one.isalpha() or one != other)]
    return sum(one.lower() in alphabet for one in own) / len(own) if own else 1.0


def _reads(raw: bytes, codec: str) -> bool:
    try:
        raw.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def _spoils_words(text: str) -> bool:
    signs = len(_IN_A_WORD.findall(text))
    return signs > 1 and signs > 0.15 * sum(character > "\x7f" for character in text)
