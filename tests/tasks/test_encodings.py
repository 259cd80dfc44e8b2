"""Encodings: what a file is read as, by its bytes alone, and what overrides it."""

import pytest

from pelt_automl.errors import SettingsError, TaskError
from pelt_automl.settings import TaskSettings
from pelt_automl.tasks import load_task
from pelt_automl.tasks.files import Reading, read_table

GERMAN = "Grüße – „schön“ für 20 €, it’s fine"  # noqa: RUF001
RUSSIAN = "Очень плохой товар, не покупайте"


def write(path, text, encoding, mark=b""):
    path.write_bytes(mark + text.encode(encoding))
    return path


def texts(table):
    return [row["text"] for row in table.rows]


@pytest.mark.parametrize(
    ("encoding", "mark", "note"),
    [
        ("utf-8", b"", None),
        ("utf-8", b"\xef\xbb\xbf", "read as UTF-8 with a byte-order mark"),
        ("utf-16-le", b"\xff\xfe", "read as UTF-16"),
        ("utf-16-be", b"\xfe\xff", "read as UTF-16"),
        ("utf-16-le", b"", "read as UTF-16 without a byte-order mark, LE (--encoding overrides it)"),
        ("utf-16-be", b"", "read as UTF-16 without a byte-order mark, BE (--encoding overrides it)"),
        ("utf-32-le", b"\xff\xfe\0\0", "read as UTF-32"),
        ("cp1252", b"", "it isn't UTF-8; read as windows-1252 (--encoding overrides it)"),
    ],
)
@pytest.mark.parametrize("rows", [1, 50])
@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_every_encoding_of_windows_and_unix_is_read_and_named(tmp_path, encoding, mark, note, rows, ending):
    line = f'"{GERMAN}",ok\n' if ending == ".csv" else '{"text": "' + GERMAN + '", "label": "ok"}\n'
    header = "text,label\n" if ending == ".csv" else ""
    table = read_table(write(tmp_path / f"a{ending}", header + line * rows, encoding, mark))
    assert texts(table) == [GERMAN] * rows
    assert table.columns == ("text", "label")
    assert [n.partition(": ")[2] for n in table.notes] == ([note] if note else [])


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("café", "cp1252"),
        ("naïve “quotes”", "cp1252"),
        ("¿Dónde está?", "cp1252"),
        ("5 €", "cp1252"),
        ("it’s", "cp1252"),  # noqa: RUF001
        ("Dziękuję za szybką wysyłkę, żółty kolor", "cp1250"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8_r"),
        ("Πολύ κακό προϊόν, μην το αγοράσετε ποτέ· χάλασε την πρώτη μέρα και δεν απαντά κανείς", "cp1253"),
        ("とても悪い商品です", "cp932"),
        ("这个产品很差 非常不好 我不会再买这个东西了 客服的态度也很差", "gb18030"),
        ("아주 나쁜 제품입니다", "cp949"),
        ("產品很差", "big5"),
    ],
)
def test_a_short_file_with_one_telling_line_is_read_rightly(tmp_path, text, encoding):
    plain = "plain English,1\n" * 20
    table = read_table(write(tmp_path / "a.csv", f'text,label\n{plain}"{text}",2\n', encoding))
    assert texts(table)[-1] == text


def test_chinese_in_utf_16_without_a_mark_has_few_zero_bytes_and_is_read(tmp_path):
    for encoding in ("utf-16-le", "utf-16-be"):
        table = read_table(write(tmp_path / f"{encoding}.csv", "text,label\n这个产品很差一一一一一一一一一一一一一一一一,1\n", encoding))
        assert texts(table) == ["这个产品很差一一一一一一一一一一一一一一一一"]


def test_an_encoding_that_is_named_overrides_what_the_bytes_look_like(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\ncafé,1\n", "utf-8")
    assert texts(read_table(path, Reading(encoding="windows-1252"))) == ["cafÃ©"]
    marked = write(tmp_path / "b.csv", "text,label\ncafé,1\n", "utf-8", b"\xef\xbb\xbf")
    for name in ("utf-8", "UTF8", "utf-8-sig"):
        assert read_table(marked, Reading(encoding=name)).columns == ("text", "label")
    for codec in ("utf-16", "utf-16-le", "utf-16-be"):
        sixteen = write(tmp_path / "c.csv", "text,label\ncafé,1\n", codec)
        assert texts(read_table(sixteen, Reading(encoding=codec if codec != "utf-16-be" else "utf-16"))) == ["café"]


@pytest.mark.parametrize("name", ["latin1", "iso-8859-1", "l1"])
def test_what_is_called_latin_1_loses_no_quote_dash_or_euro_sign(tmp_path, name):
    table = read_table(write(tmp_path / "a.csv", f'text,label\n"{GERMAN}",ok\n', "cp1252"), Reading(encoding=name))
    assert texts(table) == [GERMAN]
    assert f"it has characters that {name} lacks; read as windows-1252" in table.notes[0]
    assert texts(read_table(write(tmp_path / "b.csv", "text,label\ncafé,1\n", "latin-1"), Reading(encoding=name))) == ["café"]


@pytest.mark.parametrize("name", ["latin-99", "base64", "rot13", "", " "])
def test_an_encoding_that_does_not_exist_is_refused(tmp_path, name):
    path = write(tmp_path / "a.csv", "text,label\na,1\n", "utf-8")
    with pytest.raises(SettingsError, match=r"there is no encoding .*windows-1252"):
        read_table(path, Reading(encoding=name))


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        (b"text,label\na,1\n\xffb,2\n", "utf-8", r"line 3 is not utf-8 text \(byte 0xff\)"),
        ("text,label\nGrüße,1\nBär,2\n".encode() + b"caf\xe9,1\n", None, r"line 4: not UTF-8 text \(byte 0xe9\), though the rest"),
        (b"text,label\na\0b,1\n", None, r"line 2 has zero bytes"),
        (b"text,label\n" + bytes(range(256)), None, r"zero bytes"),
        (b"\xff\xfea", None, r"line 1 is not UTF-16 text"),
    ],
)
def test_damaged_text_is_refused_with_its_line(tmp_path, content, encoding, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(TaskError, match=message):
        read_table(tmp_path / "a.csv", Reading(encoding=encoding))


def test_the_notes_of_both_files_reach_the_task_and_the_data_are_the_same_in_every_encoding(tmp_path):
    rows = "text;label\n" + "".join(f"Grüße {i};{'gut' if i % 2 else 'schlecht'}\n" for i in range(40))
    settings = {"text_columns": ("text",), "label_column": "label"}
    one = load_task(
        TaskSettings(
            train=write(tmp_path / "a.csv", rows, "cp1252"),
            test=write(tmp_path / "t.csv", rows.replace("Grüße", "Größe"), "utf-16"),
            **settings,
        )
    )
    assert sorted(note.partition(": ")[2] for note in one.notes if "read as" in note) == [
        "it isn't UTF-8; read as windows-1252 (--encoding overrides it)",
        "read as UTF-16",
    ]
    other = load_task(TaskSettings(train=write(tmp_path / "b.csv", rows, "utf-8"), test=tmp_path / "t.csv", **settings))
    assert one.data_hash == other.data_hash


EASTERN = [
    ("cp1254", "Harika bir ürün, çok beğendim; ışığı da güçlü, şikayetim yok"),
    ("cp1250", "Zboží přišlo poškozené a nikdo neodpovídá, příšerné"),
    ("cp1250", "Ne radi, loše, šaljem natrag; kuća je već čista"),
    ("cp1250", "Produsul este prost şi nu funcţionează, ţin să vă spun că şi banii întârzie"),
    ("cp1250", "Nagyon rossz termék, többet nem veszek, őrültség volt ez a fűtő"),
    ("cp1257", "Labai bloga prekė, neveikia, grąžinsiu ją šiandien, žiūrėk"),
    ("cp1257", "Ļoti slikta prece, nestrādā, atgriezīšu šodien"),
]


@pytest.mark.parametrize(("encoding", "text"), EASTERN)
@pytest.mark.parametrize("rows", [1, 20])
def test_languages_in_latin_letters_that_windows_1252_would_spoil_are_told_by_their_letters(tmp_path, encoding, text, rows):
    table = read_table(write(tmp_path / "a.csv", "text,label\n" + f'"{text}",1\n' * rows, encoding))
    assert texts(table) == [text] * rows


@pytest.mark.parametrize(
    "text",
    [
        "Le produit est très bien, voilà, ça marche à merveille, forêt naïve, cœur",
        "Ça va ? Élève, où",
        "Muy malo, señor; ¿dónde está? El niño comió",
        "Não é bom, coração, ação, você, às três",
        "Perché è così? Città, più, però",
        "Größe, Mädchen, fünf Cafés – naïve „Leute“",  # noqa: RUF001
        "Þetta er mjög slæm vara, ég er óánægður",
        "Hyvä tuote, älä osta, yö",
        "Smørrebrød på bordet, æble",
        "Jalapeño, résumé, naïve façade, Ångström",
        "Straße in São Paulo, Señor Müller aß Crème brûlée",
        "5 m³ at 1½ ± 2°",
        "L’été 1º, 2ª",  # noqa: RUF001
    ],
)
@pytest.mark.parametrize("rows", [1, 20])
def test_texts_of_western_europe_are_still_windows_1252(tmp_path, text, rows):
    table = read_table(write(tmp_path / "a.csv", "text,label\n" + f'"{text}",1\n' * rows, "cp1252"))
    assert texts(table) == [text] * rows


@pytest.mark.parametrize(
    ("encoding", "text", "name"),
    [("cp1254", "Gülşen", "windows-1254"), ("cp1250", "şi", "windows-1250"), ("cp1255", "מוצר גרוע מאוד, לא לקנות", "windows-1255")],
)
def test_other_encodings_that_lie_close_are_named(tmp_path, encoding, text, name):
    note = read_table(write(tmp_path / "a.csv", f'text,label\n"{text}",1\n', encoding)).notes[0]
    assert "it may also be" in note
    assert name in note
    assert note.endswith(": check a text, or say --encoding")


@pytest.mark.parametrize(
    ("encoding", "text", "name"),
    [("iso2022_jp", "とても悪い", "ISO-2022-JP"), ("iso2022_kr", "나쁜 제품", "ISO-2022-KR"), ("hz", "产品很差", "HZ")],
)
def test_east_asian_text_in_ascii_bytes_is_read_and_named(tmp_path, encoding, text, name):
    table = read_table(write(tmp_path / "a.csv", f"text,label\n{text},1\n", encoding))
    assert texts(table) == [text]
    assert f"read as {name} (--encoding overrides it)" in table.notes[0]


def test_broken_escape_sequences_are_refused_and_colors_of_a_terminal_are_text(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"text,label\n\x1b$B!,1\n")
    with pytest.raises(TaskError, match="line 2 has escape sequences of ISO-2022"):
        read_table(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_bytes(b"text,label\n\x1b[31mred\x1b[0m,1\n")
    assert not read_table(tmp_path / "b.csv").notes


@pytest.mark.parametrize("encoding", ["idna", "punycode", "ascii", "utf-7", "utf-32-be"])
def test_bytes_that_are_no_text_in_the_named_encoding_are_one_error(tmp_path, encoding):
    with pytest.raises(TaskError, match=f"is not {encoding} text"):
        read_table(write(tmp_path / "a.csv", "text\nähnlich\n", "utf-8"), Reading(encoding))


@pytest.mark.parametrize("codec", ["utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ["text,label\ngood,1\n", f"{RUSSIAN},label\n{GERMAN},1\n"])
def test_utf32_without_a_mark_is_refused_with_its_name(tmp_path, codec, text):
    path = write(tmp_path / "a.csv", text, codec)
    with pytest.raises(TaskError, match=f"looks like UTF-32: name it, --encoding {codec}$"):
        read_table(path)
    assert len(read_table(path, Reading(codec)).rows) == 1


def test_zero_bytes_that_are_no_utf32_are_called_damage(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"text,label\na\0\0\0\0\0,1\n")
    with pytest.raises(TaskError, match=r"no text file, or a damaged one; save it as UTF-8$"):
        read_table(tmp_path / "a.csv")
