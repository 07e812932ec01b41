"""Which output each input gets."""

import gzip
from pathlib import Path

import pytest

from tfcli.commands.translate_files import find_jobs
from tfcli.errors import DataError, RecipeError

FILES = ["docs/a.en", "docs/b.txt", "docs/more/a.en", "docs/more/c.en.gz", "docs/.git/x.en", "docs/more/.hidden.en", "in.en"]  # fmt: skip


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("text\n")
    Path("there").mkdir()


def paired(*files, out=None, suffix=None):
    jobs = find_jobs([Path(file) for file in files], None if out is None else Path(out), suffix)
    return {str(job.source): job.target and str(job.target) for job in jobs}


@pytest.mark.parametrize(
    ("files", "options", "pairs"),
    [
        (["in.en"], {}, {"in.en": None}),
        (["in.en"], {"out": "out"}, {"in.en": "out"}),
        (["in.en"], {"out": "there"}, {"in.en": "there/in.en"}),
        (["in.en"], {"suffix": ".de"}, {"in.en": "in.de"}),
        (["in.en"], {"suffix": ".de.gz", "out": "new"}, {"in.en": "new/in.de.gz"}),
        (["docs/more/c.en.gz"], {"suffix": ".de"}, {"docs/more/c.en.gz": "docs/more/c.de"}),
        (["docs/more/c.en.gz", "in.en"], {"out": "new"}, {"docs/more/c.en.gz": "new/c.en", "in.en": "new/in.en"}),
        (
            ["docs"],
            {"out": "new"},
            {
                "docs/a.en": "new/a.en",
                "docs/b.txt": "new/b.txt",
                "docs/more/a.en": "new/more/a.en",
                "docs/more/c.en.gz": "new/more/c.en",
            },
        ),
        (
            ["docs"],
            {"suffix": ".txt"},  # b.txt is an output of an earlier time
            {"docs/a.en": "docs/a.txt", "docs/more/a.en": "docs/more/a.txt", "docs/more/c.en.gz": "docs/more/c.txt"},
        ),
        (["docs/*.en"], {"out": "new"}, {"docs/a.en": "new/a.en"}),
        (["docs/**/a.*"], {"out": "new"}, {"docs/a.en": "new/a.en", "docs/more/a.en": "new/more/a.en"}),
        (["docs/**/a.*"], {}, {"docs/a.en": None, "docs/more/a.en": None}),
        (["docs/more", "in.en"], {"out": "new"}, {"docs/more/a.en": "new/a.en", "docs/more/c.en.gz": "new/c.en", "in.en": "new/in.en"}),
    ],
)  # fmt: skip
def test_inputs_get_their_outputs(files, options, pairs):
    assert paired(*files, **options) == pairs


def test_an_output_folder_inside_the_input_folder_is_no_input():
    Path("docs/out").mkdir()
    Path("docs/out/a.en").write_text("translated\n")
    assert "docs/out/a.en" not in paired("docs", out="docs/out")


def test_a_file_whose_name_looks_like_a_pattern_is_a_file():
    Path("[x].en").write_text("text\n")
    assert paired("[x].en") == {"[x].en": None}


@pytest.mark.parametrize(
    ("files", "options", "kind", "said"),
    [
        (["docs"], {}, RecipeError, "docs: a folder, but its results have no place"),
        (["there"], {"out": "new"}, DataError, "there: no text files in this folder"),
        (["nothing.en"], {}, DataError, "nothing.en: no such file"),
        (["docs/*.xml"], {}, DataError, r"docs/\*.xml: no file matches"),
        (["docs", "docs/more"], {"out": "new"}, RecipeError, "several inputs would become new/a.en"),
        (["docs/a.en", "docs/b.txt"], {"out": "in.en"}, RecipeError, "in.en: a file, but there are 2 inputs"),
        (["in.en"], {"suffix": ".en"}, RecipeError, "in.en: would be overwritten by its own result"),
        (["docs"], {"out": "docs"}, RecipeError, "docs/a.en: would be overwritten by its own result"),
        (["docs/a.en", "in.en"], {"suffix": "de"}, RecipeError, "--suffix de: expected a dot"),
        (["in.en"], {"suffix": ".d/e"}, RecipeError, "--suffix .d/e: expected a dot"),
        ([], {"suffix": ".de"}, RecipeError, "--suffix names outputs after inputs"),
        ([], {"out": "there"}, RecipeError, "there: a folder, but the input has no name"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(files, options, kind, said):
    with pytest.raises(kind, match=said):
        paired(*files, **options)


def test_one_input_is_not_overwritten_by_the_translation_of_another():
    for name in ("tree/sub/in.en", "there/sub/in.de"):
        Path(name).parent.mkdir(parents=True)
        Path(name).write_text("text\n")
    with pytest.raises(
        RecipeError, match=r"there/sub/in\.de: would be overwritten by another input's result"
    ):
        paired("tree", "there/sub/in.de", out="there", suffix=".de")


def picture(path):
    Path(path).write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")


@pytest.mark.parametrize("suffix", [None, ".de"])
def test_what_is_no_text_in_a_folder_is_left_out_and_told_once(capsys, suffix):
    before = paired("docs", out="new", suffix=suffix)
    picture("docs/a.png")
    picture("docs/more/b.zip")
    Path("docs/more/archive.gz").write_bytes(gzip.compress(b"name" + bytes(100)))
    assert paired("docs", out="new", suffix=suffix) == before
    assert capsys.readouterr() == (
        "",
        "warning: docs: 3 files left out as no text (NUL bytes in the first 8 KiB): a.png, more/archive.gz, more/b.zip\n",
    )


def test_many_files_that_are_no_text_are_not_all_named(capsys):
    for number in range(12):
        picture(f"docs/{number:02}.png")
    paired("docs", out="new")
    told = capsys.readouterr().err
    assert "12 files left out" in told
    assert told.endswith("08.png, 09.png, ...\n")


def test_a_file_or_pattern_that_is_given_is_text_whatever_it_holds(capsys):
    picture("docs/a.png")
    assert paired("docs/a.png") == {"docs/a.png": None}
    assert paired("docs/*.png", out="new") == {"docs/a.png": "new/a.png"}
    assert capsys.readouterr().err == ""


def test_a_text_with_a_nul_far_behind_in_utf16_or_that_cannot_be_unpacked_is_no_picture(capsys):
    Path("there/late.en").write_bytes(b"a" * 8192 + b"\0")
    Path("there/utf16.en").write_bytes("\ufeffthe dog".encode("utf-16-le"))
    Path("there/damaged.gz").write_bytes(b"no archive\0")
    Path("there/empty.en").touch()
    assert len(paired("there", out="new")) == 4
    assert capsys.readouterr().err == ""


def test_a_folder_without_text_is_refused():
    picture("there/a.png")
    with pytest.raises(DataError, match="there: no text files in this folder"):
        paired("there", out="new")
