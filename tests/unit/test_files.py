"""Data files are found in the first root that has them, fetched once, verified, and never half-written."""

import gzip
import hashlib
import lzma
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tfcli.errors import DataError
from tfcli.recipe.corpora import Corpus
from tfcli.recipe.schema import Recipe
from tfcli.text import files
from tfcli.text.files import data_roots, locate, require_text, sha256_of_content

TEXT = "ein Haus\nzwei Häuser\u2028\n".encode()
SHA256 = hashlib.sha256(TEXT).hexdigest()
PAGES = {
    "/plain.txt": TEXT,
    "/a.gz": gzip.compress(TEXT),
    "/a.xz": lzma.compress(TEXT),
    "/download": gzip.compress(TEXT),  # an address that does not say what it sends
    "/empty": b"",
    "/damaged.gz": gzip.compress(TEXT)[:-9],
}


class Handler(BaseHTTPRequestHandler):
    requests = 0

    def do_GET(self) -> None:
        Handler.requests += 1
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
            self.end_headers()
            return
        body = PAGES.get(self.path.removeprefix("/short").removeprefix("/reset"))
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        if not self.path.startswith("/damaged"):
            self.send_header("Content-Length", str(len(body) + 5 * self.path.startswith("/short")))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def tsv(path: str, url: str | None = None, sha256: str | None = None) -> Corpus:
    return Corpus(tsv=path, tsv_url=url, tsv_sha256=sha256)


def fetch(root: Path, corpus: Corpus) -> Path:
    found = locate(corpus, [root], "data.train[0]", lambda _: None).tsv
    assert found is not None
    return found


def refused(root: Path, corpus: Corpus) -> DataError:
    with pytest.raises(DataError) as caught:
        fetch(root, corpus)
    assert caught.value.hint
    assert not [path for path in root.rglob("*") if path.is_file()], "something was left behind"
    return caught.value


def test_roots_are_the_option_the_environment_and_the_recipe(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    corpus = {"tsv": "a"}
    recipe = Recipe.model_validate(
        {"name": "x", "data": {"root": "../here", "train": [corpus], "valid": corpus}}
    )
    monkeypatch.delenv("TFCLI_DATA", raising=False)
    assert data_roots(recipe, tmp_path, None) == [tmp_path / "../here"]
    monkeypatch.setenv("TFCLI_DATA", "/else")
    assert data_roots(recipe, tmp_path, Path("given")) == [Path("given"), Path("/else"), tmp_path / "../here"]
    monkeypatch.setenv("TFCLI_DATA", "")
    assert data_roots(recipe, tmp_path, None) == [tmp_path / "../here"]


def test_the_first_root_that_holds_a_file_wins_for_each_file(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for root in (first, second):
        root.mkdir()
        (root / "a.en").write_bytes(TEXT)
    (second / "a.de").write_bytes(TEXT)
    found = locate(Corpus(src="a.en", tgt="a.de"), [first, second], "data.valid", lambda _: None)
    assert (found.src, found.tgt, found.tsv) == (first / "a.en", second / "a.de", None)


def test_an_absolute_path_needs_no_root(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(TEXT)
    assert fetch(tmp_path / "nowhere", tsv(str(tmp_path / "a"))) == tmp_path / "a"


def test_a_missing_file_is_named_with_its_key_and_every_place_that_was_looked_at(tmp_path: Path) -> None:
    corpus = Corpus(src="a.en", tgt="a.de")
    with pytest.raises(DataError) as caught:
        locate(corpus, [tmp_path / "x", tmp_path / "y"], "data.train[0]", lambda _: None)
    assert caught.value.message == (
        f"data.train[0].src: no file a.en; looked for {tmp_path / 'x/a.en'}, {tmp_path / 'y/a.en'}"
    )
    assert "data.train[0].src_url" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("there", "missing", "proposed"),
    [
        ("train.en", "trian.en", True),
        ("train.en.gz", "train.en", True),
        ("Train.EN", "train.en", True),
        ("train.de", "train.en", False),  # the corpus's other side
        ("valid.en", "train.en", False),
    ],
)
def test_a_file_of_nearly_that_name_in_the_same_folder_is_proposed(
    tmp_path: Path, there: str, missing: str, proposed: bool
) -> None:
    (tmp_path / there).write_bytes(TEXT)
    with pytest.raises(DataError) as caught:
        locate(Corpus(src=missing, tgt="train.de"), [tmp_path / "nowhere", tmp_path], "x", lambda _: None)
    assert (f"did you mean {tmp_path / there}?" in str(caught.value.hint)) == proposed
    with pytest.raises(DataError, match=f"--src: no file {tmp_path / missing}") as caught:
        require_text(tmp_path / missing, "--src", [tmp_path / "train.de"])
    assert str(caught.value.hint) == (f"did you mean {tmp_path / there}?" if proposed else "check the path")


def test_what_is_no_file_or_holds_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    (tmp_path / "empty.gz").write_bytes(gzip.compress(b""))
    for name, encoding in (("little", "utf-16-le"), ("big", "utf-16-be")):
        (tmp_path / name).write_bytes("\ufeffa\n".encode(encoding))
    for name, complaint in {
        "folder": "is a folder; expected a file",
        "pipe": "is a pipe or a device, and text is read more than once; expected a file",
        "empty": "is empty",
        "empty.gz": "is empty",
        "little": "is UTF-16, expected UTF-8",
        "big": "is UTF-16, expected UTF-8",
    }.items():
        with pytest.raises(DataError) as caught:
            fetch(tmp_path, tsv(name))
        assert caught.value.message == f"data.train[0].tsv: {tmp_path / name} {complaint}"
        with pytest.raises(DataError) as caught:
            require_text(tmp_path / name, "--src")
        assert caught.value.message == f"--src: {tmp_path / name} {complaint}"
        assert caught.value.hint


def test_one_file_for_both_sides_is_warned_of_behind_links_too(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(TEXT)
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c").write_bytes(TEXT)
    for tgt, warned in (("a", True), ("b", True), ("c", False)):
        told: list[str] = []
        locate(Corpus(src="a", tgt=tgt), [tmp_path], "data.valid", told.append)
        assert [line.startswith("warning: data.valid: src and tgt are the same file") for line in told] == (
            [True] if warned else []
        )


def test_an_empty_download_is_refused(server: str, tmp_path: Path) -> None:
    error = refused(tmp_path, tsv("a", server + "/empty"))
    assert error.message == f"data.train[0].tsv: what came from {server}/empty is empty"


@pytest.mark.parametrize("name", ["a", "a.gz", "a.xz"])
def test_the_checksum_is_of_the_uncompressed_content(tmp_path: Path, name: str) -> None:
    pack = {"a": bytes, "a.gz": gzip.compress, "a.xz": lzma.compress}[name]
    path = tmp_path / name
    path.write_bytes(pack(TEXT))
    assert sha256_of_content(path) == SHA256
    assert fetch(tmp_path, tsv(name, sha256=SHA256)) == path


def test_a_file_with_another_checksum_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"other\n")
    with pytest.raises(
        DataError, match=r"data\.train\[0\]\.tsv: .* is not the file that the recipe means"
    ) as caught:
        fetch(tmp_path, tsv("a", sha256=SHA256))
    assert SHA256 in caught.value.message
    assert "replace it" in str(caught.value.hint)
    assert (tmp_path / "a").read_bytes() == b"other\n"


@pytest.mark.parametrize("page", ["/plain.txt", "/a.gz", "/a.xz", "/download"])
@pytest.mark.parametrize("name", ["deep/er/a.txt", "a.gz", "a.xz"])
def test_a_file_is_fetched_and_kept_as_its_name_says(
    server: str, tmp_path: Path, page: str, name: str
) -> None:
    path = fetch(tmp_path, tsv(name, server + page, SHA256))
    assert path == tmp_path / name
    assert sha256_of_content(path) == SHA256
    unpack = {".gz": gzip.decompress, ".xz": lzma.decompress}.get(path.suffix, bytes)
    assert unpack(path.read_bytes()) == TEXT
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]


def test_what_is_compressed_here_is_the_same_at_any_time_of_day(server: str, tmp_path: Path) -> None:
    path = fetch(tmp_path, tsv("a.gz", server + "/plain.txt"))
    assert path.read_bytes()[4:8] == bytes(4)  # the header's time


def test_a_file_is_fetched_once_and_into_the_first_root(server: str, tmp_path: Path) -> None:
    corpus, roots, told = tsv("a", server + "/plain.txt"), [tmp_path / "x", tmp_path / "y"], []
    locate(corpus, roots, "data.valid", told.append)
    before = Handler.requests
    assert locate(corpus, roots, "data.valid", told.append).tsv == tmp_path / "x/a"
    assert Handler.requests == before
    assert told == [f"fetching {server}/plain.txt", f"saved {tmp_path / 'x/a'}"]


def test_a_long_download_reports_how_far_it_is(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "REPORT_SECONDS", 0.0)
    told: list[str] = []
    locate(tsv("a", server + "/plain.txt"), [tmp_path], "data.valid", told.append)
    assert told[1] == f"fetching {server}/plain.txt: 0.0 MB of 0.0 MB"


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("/nothing", "the server answers 404 Not Found"),
        ("/short/plain.txt", f"the connection closed after {len(TEXT)} of {len(TEXT) + 5} bytes"),
        ("/short/a.gz", "the connection closed after"),
        ("/damaged.gz", "sent a damaged compressed file"),
        ("/moved", "redirection to url 'file:///etc/hostname' is not allowed"),
    ],
)
def test_a_failed_download_says_why_and_leaves_nothing(
    server: str, tmp_path: Path, page: str, complaint: str
) -> None:
    error = refused(tmp_path, tsv("a.gz", server + page))
    assert error.message.startswith("data.train[0].tsv: ")
    assert server + page in error.message
    assert complaint.lower() in error.message.lower()
    assert f"save it as {tmp_path / 'a.gz'}" in str(error.hint)


def test_a_download_with_another_checksum_is_refused_and_thrown_away(server: str, tmp_path: Path) -> None:
    error = refused(tmp_path, tsv("a", server + "/plain.txt", "0" * 64))
    assert f"what came from {server}/plain.txt is not the file that the recipe means" in error.message
    assert SHA256 in error.message


def test_no_server_is_an_error_with_its_reason(tmp_path: Path) -> None:
    # port 1 of this machine is not served
    assert "Connection refused" in refused(tmp_path, tsv("a", "http://127.0.0.1:1/a")).message


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://x/a", "/etc/hostname", "httpx://x"])
def test_only_http_addresses_are_fetched(tmp_path: Path, url: str) -> None:
    error = refused(tmp_path, tsv("a", url))
    assert error.message == f"data.train[0].tsv_url: expected an http or https address, got {url}"


@pytest.mark.parametrize("url", ["http://[", "http://x:y/", "http://", "http://127.0.0.1:1/\u00fc"])
def test_an_address_that_makes_no_sense_is_refused(tmp_path: Path, url: str) -> None:
    assert "data.train[0].tsv: cannot fetch http://" in refused(tmp_path, tsv("a", url)).message


def test_a_silent_server_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "TIMEOUT_SECONDS", 0.1)
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), Handler
    ) as deaf:  # accepts, since the system does, and never answers
        error = refused(tmp_path, tsv("a", f"http://127.0.0.1:{deaf.server_port}/plain.txt"))
    assert "nothing came for" in error.message


def test_an_interrupted_download_leaves_nothing(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "_repack", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path, tsv("a", server + "/plain.txt"))
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_cannot_be_written_is_named(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        DataError, match=r"cannot write .*Not a directory|cannot write .*File exists"
    ) as caught:
        fetch(tmp_path / "file", tsv("a", server + "/plain.txt"))
    assert "--data-root" in str(caught.value.hint)
