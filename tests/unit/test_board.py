"""What TensorBoard reads back is what was written, steps that were undone left out."""

from tfcli.training.board import Board
from tfcli.training.record import Record


def scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    tags = events.Tags()["scalars"] + events.Tags()["tensors"]
    found = {}
    for tag in tags:
        for event in events.Tensors(tag) if tag in events.Tags()["tensors"] else events.Scalars(tag):
            value = event.value if hasattr(event, "value") else event.tensor_proto.float_val[0]
            found.setdefault(tag, []).append((event.step, round(value, 4)))
    return found


def test_tensorboard_reads_the_rows_and_forgets_those_that_were_undone(tmp_path):
    board = Board(tmp_path / "board", 0)
    for step in (1, 2, 3):
        board.add("train", step, {"loss": step + 0.5, "tokens": 100})
    board.add("valid", 3, {"bleu": 12.25})
    board.close()
    again = Board(tmp_path / "board", 1)
    again.add("train", 2, {"loss": 7.5})
    again.close()
    assert len(list((tmp_path / "board").iterdir())) == 2
    assert scalars(tmp_path / "board") == {
        "train/loss": [(1, 1.5), (2, 7.5)],
        "train/tokens": [(1, 100.0)],
    }


def test_a_record_keeps_a_board_beside_its_rows(tmp_path):
    record = Record(tmp_path, 0)
    record.add("train", 1, {"loss": 2.5})
    record.close()
    assert scalars(tmp_path / "tensorboard") == {"train/loss": [(1, 2.5)]}
