"""Commands that write the same file at once: each writes all of it, and none fails."""

from tests.cli.test_signals import start, wait_for


def test_two_translations_into_one_file_at_once_both_end_well_and_the_last_one_stays(small_run, tmp_path):
    texts = [b"The dog sleeps.\n", b"The cat sleeps.\nThe dog sees a house.\n"]
    running = []
    for n in range(1, 3):
        running.append(start("translate", small_run, "-o", "out.txt", cwd=tmp_path))
        wait_for(
            ".out.*part*", tmp_path, running[-1], count=n
        )  # they stand there, waiting for standard input
    for process, text in zip(running, texts, strict=True):
        _, err = process.communicate(text, timeout=120)
        assert process.returncode == 0, err.decode()
        assert (tmp_path / "out.txt").read_bytes().count(b"\n") == text.count(b"\n")
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]
