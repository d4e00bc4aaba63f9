"""A child's output, cut anywhere, comes out in whole lines that say whose they are."""

from gyropilot.worker.labelled_lines import LabelledLines


def test_lines_are_written_whole_however_they_come():
    written = []
    lines = LabelledLines(written.append, "c1")
    for piece in (b"one\ntw", b"o", b"\nthr", b"ee"):
        lines(piece)
    assert written == [b"[c1] one\n", b"[c1] two\n"]
    lines.close()
    assert written[-1] == b"[c1] three\n"
    lines.close()
    assert len(written) == 3


def test_a_line_without_an_end_is_not_held_for_ever():
    written = []
    lines = LabelledLines(written.append, "c1")
    lines(b"x" * 70_000)
    assert len(written) == 1
