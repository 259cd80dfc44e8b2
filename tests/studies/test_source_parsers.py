"""Parsers of the sources' formats, on small made-up files."""

import pytest

from pelt_automl.errors import TaskError
from studies.sources import parsers
from studies.sources.rows import Row


def found(rows):
    return [(row.text, row.label) for row in rows]


LEXICON = """<?xml version="1.0" encoding="utf-8"?>
<sentiment language="en">
<word form="glum" pos="JJ" sense="low in spirits &amp; quiet" polarity="-0.5" subjectivity="0.8" />
<word form="glum" pos="JJ" sense="of dull light" polarity="0.0" />
<word form="well_kept" pos="JJ" sense="cared for" polarity="0.6" />
<word form="gloom" pos="NN" sense="a low mood" polarity="-0.4" />
<word form="odd" pos="JJ" polarity="-0.1" />
<word form="even" pos="JJ" sense="flat" />
</sentiment>
"""


def test_the_senses_of_adjectives_have_the_sign_of_their_polarity():
    rows = list(parsers.adjective_classes(LEXICON))
    assert found(rows) == [
        ("glum: low in spirits & quiet", "negative"),
        ("glum: of dull light", "neutral"),
        ("well kept: cared for", "positive"),
    ]
    assert [row.group for row in rows] == ["glum", "glum", "well kept"]


def test_the_same_senses_have_their_polarity_as_a_number():
    assert [row.label for row in parsers.adjective_numbers(LEXICON)] == [-0.5, 0.0, 0.6]


@pytest.mark.parametrize("read", [parsers.adjective_classes, parsers.diagnoses])
def test_what_is_not_xml_is_one_clear_error(read):
    with pytest.raises(TaskError, match="isn't XML"):
        list(read("<sentiment><word"))


NOUNS = """  1 This software and database is being provided to you, the LICENSEE | under a license with 05 n words
00001740 03 n 01 entity 0 001 ~ 00001930 n 0000 | that which is perceived to exist
01503061 05 n 02 wug 0 wuglet 0 002 @ 01471682 n 0000 ~ 01503200 n 0000 | small bird of made-up books; "a wug sang"; "two wugs"
03100490 06 n 01 gizmo 0 001 @ 03563967 n 0000 | a tool | with a bar of its own
03100491 06 n 01 gadget 0 001 @ 03563967 n 0000 | too short
"""


def test_glosses_of_nouns_have_their_lexicographers_file_and_no_examples():
    assert found(parsers.glosses(NOUNS)) == [("small bird of made-up books", "animal"), ("a tool | with a bar of its own", "artifact")]


STANZAS = """Package: frob-data
Source: frob (1.2)
Section: games
Description: Turns knobs in a maze (data files)

Package: frob
Section: contrib/games
Description-en: Turns knobs in a maze
 A longer text: with a colon.
Tag: game::maze

Package: libfrob1
Section: libs
Description: Shared library that turns knobs

Package: oldfrob
Section: games
Description: Transitional package that pulls in frob
"""


def test_package_descriptions_have_their_section_and_stay_with_their_source_package():
    assert list(parsers.package_descriptions(STANZAS)) == [
        Row("Turns knobs in a maze  ", "games", "frob"),
        Row("Turns knobs in a maze", "games", "frob"),
    ]


EMOJI = """# emoji-test.txt
# group: People & Body
# subgroup: person
1F468                 ; fully-qualified     # \U0001f468 E0.6 man waving
1F468 1F3FB           ; fully-qualified     # \U0001f468\U0001f3fb E1.0 man waving: light skin tone
1F469                 ; fully-qualified     # \U0001f469 E0.6 woman waving
263A                  ; unqualified         # ☺ E0.6 smiling face
# group: Flags
1F3C1                 ; fully-qualified     # \U0001f3c1 E0.6 chequered flag
# group: Objects
1F4A1                 ; fully-qualified     # \U0001f4a1 E0.6 light bulb
#EOF
"""


def test_emoji_have_their_group_without_skin_tones_and_flags():
    rows = list(parsers.emoji_names(EMOJI))
    assert found(rows) == [("man waving", "People & Body"), ("woman waving", "People & Body"), ("light bulb", "Objects")]
    assert rows[0].group == rows[1].group != rows[2].group


@pytest.mark.parametrize(
    ("line", "subject"),
    [
        ("Subject: Re: [ILUG] Fwd: knobs for\n sale", "knobs for sale"),
        ("Subject: =?iso-8859-1?Q?Caf=E9?= opens", "Café opens"),
        ("Subject: =?no-such-set?Q?x=E9?= stays as it is", "=?no-such-set?Q?x=E9?= stays as it is"),
        ("Subject: RE[2]: twice", "twice"),
        ("From: nobody", ""),
    ],
)
def test_subjects_are_decoded_and_lose_what_tells_where_a_mail_was_sent(line, subject):
    assert parsers.subject_of(f"X-First: 1\n{line}\n\nSubject: of the body\n".encode("latin-1")) == subject


def test_bytes_that_are_no_text_do_not_stop_the_reading_of_mails():
    assert parsers.subject_of(b"Subject: win \xff\xfe money\n\nbody").startswith("win")


def test_mails_are_spam_or_not_by_their_folder(tmp_path):
    mails = [("easy-ham-1", "01.ab.txt", "Re: two words"), ("spam-2", "02.cd.txt", "Free money!"), ("spam-2", "3.txt", "One")]
    for folder, name, subject in mails:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(f"Subject: {subject}\n\nbody\n")
        (tmp_path / folder / name).with_suffix(".json").write_text("{}")
    assert list(parsers.mail_subjects(tmp_path)) == [Row("two words", "ham", "two words"), Row("Free money!", "spam", "free money")]


TERMS = """frob

   <jargon> To turn a {knob} of a
   machine without aim.

   Compare {twiddle}.

frobnet

   <networking, standard> Two categories are none of ours here.

FROB

   <language> A made-up {language} for small machines.  It has knobs.

"""


def test_terms_of_computing_have_the_category_before_them():
    assert found(parsers.computing_terms(TERMS)) == [
        ("To turn a knob of a machine without aim.", "jargon"),
        ("A made-up language for small machines. It has knobs.", "language"),
    ]


def test_headlines_are_the_first_lines_of_articles_by_folder(tmp_path):
    for name, text in {"a/1.txt": "Knobs are dear\n\nMuch more.\n", "a/2.txt": "Short one\n", "b/1.txt": "Price of £ falls\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert found(parsers.news_headlines(tmp_path)) == [("Knobs are dear", "a"), ("Price of £ falls", "b")]


ICD = b"""<?xml version="1.0" encoding="utf-8"?>
<ICD10CM.tabular><chapter><name>1</name><desc>Infections (A00-B99)</desc><section id="A00-A09">
<diag><name>A00</name><desc>Made-up fever</desc>
 <diag><name>A00.1</name><desc>Made-up fever of knobs</desc><diag><name>A00.11</name><desc>Too deep a code</desc></diag></diag></diag>
</section></chapter><chapter><name>3</name><desc>Blood</desc><diag><name>D50</name><desc>Of no chapter here</desc></diag></chapter>
</ICD10CM.tabular>"""


def test_diagnoses_have_their_chapter_and_stay_with_their_category():
    assert list(parsers.diagnoses(ICD)) == [Row("Made-up fever", "infection", "A00"), Row("Made-up fever of knobs", "infection", "A00")]


def test_cookies_are_parted_by_a_percent_sign_and_lose_their_author(tmp_path):
    (tmp_path / "food").write_text("A knob of butter\nis 100% good.\n\t\t-- Nobody\n%\nToo short\n%\n" + "long " * 100 + "\n%\n")
    assert found(parsers.cookies(tmp_path, ["food"])) == [("A knob of butter is 100% good.", "food")]


def test_tags_have_their_severity_and_plain_words(tmp_path):
    (tmp_path / "k").mkdir()
    (tmp_path / "k" / "knob.tag").write_text(
        "Tag: knob\nSeverity: pedantic\nCheck: knobs\nExplanation: The file <code>a&lowbar;b</code> has\n a knob.\n"
        " .\n More on it.\nSee-Also: x\n"
    )
    (tmp_path / "k" / "other.tag").write_text("Tag: other\nSeverity: classification\nExplanation: This one is of no class.\n")
    assert found(parsers.tag_explanations(tmp_path)) == [("The file a_b has a knob.", "hint")]


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("Short.  And\n sweet.", "Short. And sweet."),
        ("One is here. Two is a longer one.", "One is here."),
        ("no sentence ends in these words", "no sentence ends in"),
    ],
)
def test_long_texts_end_with_a_sentence_or_a_word(text, cut):
    assert parsers.first_sentences(text, 20) == cut
