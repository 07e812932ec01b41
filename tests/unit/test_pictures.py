"""Pictures are SVG that is at home in a page: well-formed, in its colours, with ids of its own, the same each time."""

import base64
import math
import re
import struct
import zlib
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from tfcli.scoring.charts import Course, learning_rate_picture, training_picture
from tfcli.scoring.heat_map import MAX_PIECES, Sides, attention_picture, positions_picture, telling
from tfcli.scoring.picture import Size, picture

LOSSES = [(step, 8 / step) for step in range(10, 200, 10)]
BLEUS = [(100, 12.5), (200, 31.25), (300, 31.25), (400, 30.0)]
CURVE = re.compile(r'<path d="([^"]*)"[^>]*stroke: var\(--picture-first')
SVG = "{http://www.w3.org/2000/svg}"


def weights(*shape, seed=1):
    drawn = np.random.default_rng(seed).random(shape)
    return drawn / drawn.sum(axis=-1, keepdims=True)


def pieces(rows, columns):
    return Sides([f"▁row{i}" for i in range(rows)], [f"col{i}" for i in range(columns)])


def all_kinds():
    return [
        training_picture(Course(LOSSES, LOSSES[1::3], BLEUS)),
        learning_rate_picture(LOSSES, "cosine"),
        attention_picture("Attention", "", weights(2, 3, 4, 5), pieces(4, 5)),
        positions_picture("Positions", "", weights(20, 8), 1.0),
    ]


@pytest.fixture(scope="module")
def pictures():
    return all_kinds()


def texts(drawn):
    return ["".join(each.itertext()) for each in ET.fromstring(drawn.svg).iter(f"{SVG}text")]


def test_pictures_are_the_same_bytes_each_time(pictures):
    assert all_kinds() == pictures


def test_pictures_are_elements_without_prolog_style_sheet_or_colours_of_their_own(pictures):
    for drawn in pictures:
        root = ET.fromstring(drawn.svg)  # well-formed
        assert root.tag == f"{SVG}svg"
        assert drawn.svg.startswith("<svg ")
        assert root.get("aria-label") == drawn.title
        assert not list(root.iter(f"{SVG}style")), "its rules would be those of the whole page"
        assert not list(root.iter(f"{SVG}metadata"))
        colours = set(re.findall(r"#[0-9a-f]{6}\b|black|white", re.sub(r"var\([^)]*\)", "", drawn.svg)))
        assert not colours, drawn.title
        assert "currentColor" in drawn.svg
        assert "var(--picture-first, " in drawn.svg
        assert len(drawn.svg) < 30_000


def test_ids_that_are_referred_to_are_there_and_no_two_pictures_share_one(pictures):
    seen = set()
    for drawn in pictures:
        ids = re.findall(r' id="([^"]*)"', drawn.svg)
        assert len(ids) == len(set(ids))
        assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', drawn.svg)) == set(ids)
        assert not seen & set(ids)
        seen.update(ids)
    assert seen


def test_settings_of_the_reader_change_nothing_and_are_not_changed(pictures):
    import matplotlib as mpl

    with mpl.rc_context({"lines.linestyle": "--", "svg.fonttype": "path", "font.size": 30.0}):
        assert training_picture(Course(LOSSES, LOSSES[1::3], BLEUS)) == pictures[0]
        assert mpl.rcParams["lines.linestyle"] == "--"


def test_the_best_bleu_of_a_run_is_the_first_that_none_is_better_than():
    drawn = training_picture(Course(LOSSES, LOSSES[:3], [(50, math.nan), *BLEUS]))
    assert "The best BLEU, 31.25 (circle), was that of step 200." in drawn.caption
    assert "BLEU on the validation set" in texts(drawn)


def test_a_run_without_validation_has_its_losses_alone():
    drawn = training_picture(Course(LOSSES, [], []))
    assert "BLEU" not in drawn.svg + drawn.caption
    assert "training" in texts(drawn)
    assert "validation" not in texts(drawn)


def test_what_is_not_finite_is_a_gap_in_a_curve():
    broken = [(step, math.inf if step == 90 else loss) for step, loss in LOSSES]
    whole = training_picture(Course(LOSSES, [], [])).svg
    gap = training_picture(Course(broken, [], [])).svg
    assert CURVE.search(whole)[1].count("M") == 1
    assert CURVE.search(gap)[1].count("M") == 2


def test_of_a_long_curve_the_means_of_neighbours_are_drawn():
    jagged = [(i, 3.0 + i % 2) for i in range(100_000)]
    drawn = training_picture(Course(jagged, [(0, 1.0), (99_999, 6.0)], []))
    assert len(drawn.svg) < 30_000
    (level,) = set(heights(CURVE.search(drawn.svg)[1]))
    low, high = heights(re.search(CURVE.pattern.replace("first", "second"), drawn.svg)[1])
    assert (low - level) / (low - high) == pytest.approx(0.5, abs=1e-3)  # 3.5 between 1 and 6


def heights(path):
    return [float(y) for y in re.findall(r"[ML] [\d.]+ ([\d.]+)", path)]


def test_titles_and_pieces_are_shown_as_they_are():
    name = "<b> & 日本\x01"
    drawn = attention_picture(name, "", weights(1, 1, 2, 2), Sides([name, "a"], ["b", "c"]))
    assert "<b> & 日本\ufffd" in texts(drawn)
    assert ET.fromstring(drawn.svg).get("aria-label") == "<b> & 日本\ufffd"


def matrices(drawn):
    """Return the greys of each PNG in a picture, by a reader of its own."""
    found = []
    for data in re.findall(r"base64,([^\"]*)", drawn.svg):
        png = base64.b64decode(data)
        assert png.startswith(b"\x89PNG\r\n\x1a\n")
        chunks, at = {}, 8
        while at < len(png):
            (length,) = struct.unpack(">I", png[at : at + 4])
            kind, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
            assert (
                zlib.crc32(kind + content) == struct.unpack(">I", png[at + 8 + length : at + 12 + length])[0]
            )
            chunks[kind], at = content, at + 12 + length
        width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
        assert (depth, colour) == (8, 0)
        lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
        assert not lines[:, 0].any()
        found.append(lines[:, 1:])
    return found


def test_shades_are_the_weights_of_every_head_and_the_mean_of_the_most_telling_layer():
    maps = np.stack([np.full((3, 4, 5), 0.2), weights(3, 4, 5), np.full((3, 4, 5), 0.2)])
    drawn = attention_picture("Attention", "Look.", maps, pieces(4, 5))
    mean, *heads, _ = matrices(drawn)
    np.testing.assert_array_equal(mean, np.rint(255 * maps[1].mean(axis=0)))
    np.testing.assert_array_equal(heads, np.rint(255 * maps.reshape(9, 4, 5)))
    assert drawn.caption.startswith("Look. The large map is the mean of the 3 heads of layer 2,")
    assert {"▁row0", "col4", "3", "layer 3"} <= set(texts(drawn))


def test_a_long_sentence_is_cut_and_that_is_said():
    drawn = attention_picture("Attention", "", weights(1, 2, 50, 12), pieces(50, 12))
    assert f"Only the first {MAX_PIECES} of 50 pieces are shown." in drawn.caption
    assert [each.shape for each in matrices(drawn)][:3] == [(MAX_PIECES, 12)] * 3
    assert "▁row39" in texts(drawn)
    assert "▁row40" not in texts(drawn)
    assert "Only" not in attention_picture("Attention", "", weights(1, 2, 12, 12), pieces(12, 12)).caption


def test_rows_that_are_all_alike_tell_nothing_and_a_look_of_its_own_for_each_tells_all():
    assert telling(np.eye(8)) == pytest.approx(3.0)  # bits, of eight places
    assert telling(np.eye(8)[np.zeros(8, dtype=int)]) == pytest.approx(0.0)
    assert telling(np.full((5, 5), 0.2)) == pytest.approx(0.0)


def test_positions_have_one_colour_above_nothing_and_one_below():
    table = np.array([[0.5, -0.5], [0.0, 0.25]])
    above, below, *_ = matrices(positions_picture("Positions", "", table, 0.5))
    assert above.tolist() == [[255, 0], [0, 128]]
    assert below.tolist() == [[0, 255], [0, 0]]


def test_the_same_drawing_under_another_title_has_other_ids():
    body = '<g id="a"/><use href="#a"/><g id="unused"/>'
    one, other = (picture(title, "", body, Size(9, 9)).svg for title in ("one", "other"))
    (id_of_one,), (id_of_other,) = (re.findall(r' id="([^"]*)"', svg) for svg in (one, other))
    assert id_of_one != id_of_other
    assert f'href="#{id_of_one}"' in one
