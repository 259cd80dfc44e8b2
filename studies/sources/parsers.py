"""Parsers of the sources' formats: text in, rows out. They open no network and no file but those that they are given."""

import email.errors
import email.header
import email.parser
import html
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from pelt_automl.errors import TaskError
from studies.sources.rows import Row

LONGEST = 300
"""Characters of a text at most; a longer one is cut after a sentence or a word."""


def first_sentences(text: str, most: int = LONGEST) -> str:
    """The text as one line, cut to `most` characters after the last whole sentence, else after the last whole word."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    cut = line[: most + 1]
    ends = [match.start() + 1 for match in re.finditer(r"[.!?](?=\s)", cut)]
    return cut[: ends[-1]] if ends else cut.rsplit(" ", 1)[0]


def adjectives(xml: str) -> Iterator[tuple[str, str, float]]:
    """Of a lexicon of TextBlob's: word, sense and polarity (-1 to 1) of each adjective.

    Raises `TaskError` for text that isn't such a lexicon.
    """
    try:
        root = ET.fromstring(xml)  # from a package whose version is fixed; expat refuses entity bombs since 2.4
    except ET.ParseError as error:
        raise TaskError(f"the lexicon of adjectives isn't XML ({error})") from error
    for word in root.iter("word"):
        form, sense, polarity = word.get("form", ""), word.get("sense", ""), word.get("polarity")
        if word.get("pos") == "JJ" and form and sense and polarity is not None:
            yield form.replace("_", " "), sense, float(polarity)


def adjective_classes(xml: str) -> Iterator[Row]:
    """``word: sense`` with the sign of the polarity as its class."""
    for word, sense, polarity in adjectives(xml):
        yield Row(f"{word}: {sense}", "negative" if polarity < 0 else "positive" if polarity > 0 else "neutral", word)


def adjective_numbers(xml: str) -> Iterator[Row]:
    """``word: sense`` with the polarity as its number."""
    for word, sense, polarity in adjectives(xml):
        yield Row(f"{word}: {sense}", polarity, word)


LEXICOGRAPHER_FILES = {
    "04": "act", "05": "animal", "06": "artifact", "08": "body", "10": "communication", "13": "food", "18": "person", "26": "state",
}  # fmt: skip
"""Nouns of WordNet, by the number of the lexicographer's file (lexnames(5WN))."""


def glosses(lines: str, files: Mapping[str, str] = LEXICOGRAPHER_FILES) -> Iterator[Row]:
    """Definitions in WordNet's ``data.noun``, without their examples; the class is the lexicographer's file (wndb(5WN))."""
    for line in lines.splitlines():
        head, bar, gloss = line.partition(" | ")
        parts = head.split()
        if line.startswith(" ") or not bar or len(parts) < 5 or parts[1] not in files:
            continue
        definition = re.split(r';\s*"', gloss)[0].strip(" ;")
        if len(definition.split()) >= 4:
            yield Row(first_sentences(definition), files[parts[1]])


SECTIONS = ("admin", "games", "graphics", "math", "net", "science", "sound", "web")
"""Of Debian's archive."""


def package_descriptions(stanzas: str, sections: Sequence[str] = SECTIONS) -> Iterator[Row]:
    """The one-line descriptions of Debian's packages, without what stands in brackets; the class is the section.

    Packages of one source package are a group. Transitional packages are left out.
    """
    for stanza in stanzas.split("\n\n"):
        fields: dict[str, str] = dict(re.findall(r"^([\w-]+): (.*)$", stanza, re.MULTILINE))
        section = fields.get("Section", "").rpartition("/")[2]
        text = re.sub(r"\([^)]*\)|\[[^\]]*\]", " ", fields.get("Description-en", fields.get("Description", "")))
        if section in sections and len(text.split()) >= 4 and not re.search(r"transitional|dummy|metapackage", text, re.IGNORECASE):
            yield Row(text, section, fields.get("Source", fields.get("Package", "")).partition(" ")[0])


LEFT_OUT_GROUPS = ("Component", "Flags")
_TONES = re.compile(r"1F3F[B-F]")
_PEOPLE = re.compile(r"\b(man|woman|men|women|person|people|boy|girl)\b")


def emoji_names(lines: str, left_out: Sequence[str] = LEFT_OUT_GROUPS) -> Iterator[Row]:
    """Names in Unicode's ``emoji-test.txt``, without skin tones; the class is the group.

    Names that differ in a man or a woman alone are a group. Flags are left out: nearly each of their names has the word flag.
    """
    group = ""
    for line in lines.splitlines():
        if line.startswith("# group:"):
            group = line.partition(":")[2].strip()
            continue
        codes, _, rest = line.partition(";")
        name = re.search(r"# \S+ E[\d.]+ (.+)$", rest)
        if group in left_out or not rest.strip().startswith("fully-qualified") or name is None or _TONES.search(codes):
            continue
        yield Row(name[1], group, " ".join(_PEOPLE.sub("", name[1]).split()) or name[1])


def subject_of(message: bytes) -> str:
    """The subject of a mail, decoded, without ``Re:`` and the tags of mailing lists, which would tell; empty where there is none."""
    headers = email.parser.BytesHeaderParser().parsebytes(message)
    raw = str(headers.get("Subject") or "")
    try:
        subject = str(email.header.make_header(email.header.decode_header(raw)))
    except (email.errors.HeaderParseError, LookupError, UnicodeError):
        subject = raw
    subject = " ".join("".join(c if unicodedata.category(c)[0] != "C" else " " for c in subject).split())
    before = None
    while before != subject:
        before = subject
        subject = re.sub(r"^\s*((re|fwd?|fw|aw)\s*(\[\d+\])?\s*:|\[[^\]]*\])\s*", "", subject, flags=re.IGNORECASE)
    return first_sentences(re.sub(r"\s\s+|\t", " ", subject))


MAIL_FOLDERS = {"easy-ham-1": "ham", "easy-ham-2": "ham", "hard-ham-1": "ham", "spam-1": "spam", "spam-2": "spam"}


def mail_subjects(data: Path, folders: Mapping[str, str] = MAIL_FOLDERS) -> Iterator[Row]:
    """Subjects of the mails in SpamAssassin's public corpus, one file a mail, by folder; the same subject is a group."""
    for folder, label in sorted(folders.items()):
        for path in sorted((data / folder).glob("*.txt")):
            subject = subject_of(path.read_bytes())
            if len(subject.split()) >= 2:
                yield Row(subject, label, re.sub(r"\W+", " ", subject.lower()).strip())


CATEGORIES = ("company", "hardware", "jargon", "language", "mathematics", "networking", "operating system", "programming")


def computing_terms(text: str, categories: Sequence[str] = CATEGORIES) -> Iterator[Row]:
    """Definitions of FOLDOC, without the term itself; the class is the category that stands before it.

    An entry is a term at the beginning of a line, then indented text that begins with ``<category>``. References lose their braces.
    """
    for entry in re.split(r"\n(?=\S)", text):
        _, _, body = entry.partition("\n")
        found = re.match(r"\s*<([a-z ]+)>\s+(.+)", body, re.DOTALL)
        if found is None or found[1] not in categories:
            continue
        paragraph = re.split(r"\n\s*\n", found[2])[0]
        definition = first_sentences(re.sub(r"[{}]", "", paragraph), 200)
        if len(definition.split()) >= 5:
            yield Row(definition, found[1])


def news_headlines(data: Path) -> Iterator[Row]:
    """First lines of the BBC's articles in ``data/<class>/*.txt`` (Greene and Cunningham, 2006)."""
    for folder in sorted(path for path in data.iterdir() if path.is_dir()):
        for path in sorted(folder.glob("*.txt")):
            headline = path.read_text(encoding="utf-8", errors="replace").strip().partition("\n")[0]
            if len(headline.split()) >= 3:
                yield Row(headline, folder.name)


CHAPTERS = {
    "1": "infection", "2": "neoplasm", "5": "mental", "6": "nervous system", "7": "eye", "9": "circulation", "11": "digestion",
    "15": "pregnancy", "19": "injury",
}  # fmt: skip
"""Of ICD-10-CM, by number."""


def diagnoses(xml: bytes, chapters: Mapping[str, str] = CHAPTERS) -> Iterator[Row]:
    """Descriptions of ICD-10-CM's codes of up to four signs; the class is the chapter, those of a category (``A00``) are a group.

    Raises `TaskError` for text that isn't such a list.
    """
    try:
        root = ET.fromstring(xml)  # from a package whose version is fixed; expat refuses entity bombs since 2.4
    except ET.ParseError as error:
        raise TaskError(f"the list of diagnoses isn't XML ({error})") from error
    for chapter in root.iter("chapter"):
        label = chapters.get((chapter.findtext("name") or "").strip())
        for diagnosis in chapter.iter("diag") if label else ():
            code, description = (diagnosis.findtext("name") or "").strip(), diagnosis.findtext("desc") or ""
            if label and len(code.replace(".", "")) <= 4 and len(description.split()) >= 2:
                yield Row(first_sentences(description), label, code[:3])


COOKIE_FILES = ("computers", "food", "law", "people", "politics", "science", "songs-poems", "work")


def cookies(folder: Path, files: Sequence[str] = COOKIE_FILES) -> Iterator[Row]:
    """Short fortune cookies, without who said them; the class is the file. A line with ``%`` alone stands between two of them."""
    for name in files:
        for cookie in re.split(r"^%\s*$", (folder / name).read_text(encoding="utf-8", errors="replace"), flags=re.MULTILINE):
            said = re.split(r"\n\s*--", cookie)[0].replace("\b", "")
            text = " ".join(said.split())
            if len(text.split()) >= 5 and len(text) <= LONGEST:
                yield Row(text, name)


SEVERITIES = {"error": "error", "warning": "warning", "info": "hint", "pedantic": "hint"}


def tag_explanations(folder: Path, severities: Mapping[str, str] = SEVERITIES) -> Iterator[Row]:
    """What Lintian's tags mean; the class is how severe that is."""
    for path in sorted(folder.rglob("*.tag")):
        fields = dict(
            re.findall(r"^([\w-]+):[ \t]*((?:.*)(?:\n[ \t].*)*)", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        )
        label = severities.get(fields.get("Severity", "").strip())
        text = first_sentences(html.unescape(re.sub(r"<[^>]*>", "", fields.get("Explanation", "").split("\n .\n")[0])))
        if label and len(text.split()) >= 4:
            yield Row(text, label)
