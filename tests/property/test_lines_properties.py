"""Reading and joining lines gives back the bytes, whatever they are."""

import io

from hypothesis import given
from hypothesis import strategies as st

from tfcli.text.lines import decode_line, decode_strictly, iter_raw_lines

CONTENT = st.lists(
    st.sampled_from([b"a", b"\n", b"\r", b"\0", b"\xe2\x80\xa8", b"\xc2\x85", b"\x0c", b"\xff", b" "])
)


@given(CONTENT.map(b"".join))
def test_joined_lines_are_the_content(content):
    lines = list(iter_raw_lines(io.BytesIO(content)))
    assert not any(b"\n" in line for line in lines)
    joined = b"".join(line + b"\n" for line in lines)
    assert joined == content if content.endswith(b"\n") or not content else joined == content + b"\n"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"))))
def test_text_survives_writing_and_reading(lines):
    content = "".join(line + "\n" for line in lines).encode()
    assert list(decode_strictly(iter_raw_lines(io.BytesIO(content)), "memory")) == lines


@given(st.binary())
def test_lenient_decoding_takes_any_bytes_and_says_when_it_changed_them(raw):
    text, replaced = decode_line(raw)
    assert replaced == (text.encode() != raw)
