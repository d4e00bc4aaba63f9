"""Objects are cut into payloads of whole records, from any mark on."""

import gzip

import pytest

from gyropilot.errors import InvalidData
from gyropilot.serve.transforms import inputs, splitting
from gyropilot.serve.transforms.splitting import Mark
from mean_transforms import plan

URI = "s3://data/in/a.csv"
LINES = b"1,a\n2,b\r\n\n  \n3,c\n4,d"


def cut(folder, data, chosen, *, start=None, is_gzip=False, **bounds):
    path = folder / "source"
    path.write_bytes(data)
    with inputs.opened(path, is_gzip=is_gzip, uri=URI, **bounds) as source:
        return list(splitting.batches(source, chosen, URI, start or Mark()))


def shown(batches):
    return [[(one.number, one.data) for one in batch.records] for batch in batches]


def test_an_object_that_is_not_split_is_one_record(tmp_path):
    assert shown(cut(tmp_path, LINES, plan())) == [[(1, LINES)]]
    assert cut(tmp_path, b"", plan()) == []


def test_single_records_are_the_lines_that_hold_something(tmp_path):
    single = plan(split_type="Line", strategy="SingleRecord")
    assert shown(cut(tmp_path, LINES, single)) == [[(1, b"1,a")], [(2, b"2,b")], [(5, b"3,c")], [(6, b"4,d")]]


def test_a_line_ends_at_a_newline_within_quotation_marks_too(tmp_path):
    single = plan(split_type="Line", strategy="SingleRecord")
    assert shown(cut(tmp_path, b'1,"a\nb"\n', single)) == [[(1, b'1,"a')], [(2, b'b"')]]


def test_multi_records_fill_a_payload_with_whole_lines(tmp_path):
    line = b"x" * (2**18 - 1)
    batches = cut(tmp_path, b"\n".join([line] * 9), plan(split_type="Line", payload=1))
    assert [len(batch.records) for batch in batches] == [4, 4, 1]
    assert all(sum(len(one.data) + 1 for one in batch.records) <= 2**20 for batch in batches)


def test_multi_records_are_no_more_than_a_model_takes(tmp_path):
    batches = cut(tmp_path, b"1\n" * 20_001, plan(split_type="Line"))
    assert [len(batch.records) for batch in batches] == [10_000, 10_000, 1]


def test_csv_lines_go_together_unless_asked_otherwise_and_json_values_alone(tmp_path):
    assert len(cut(tmp_path, LINES, plan(split_type="Line"))) == 1
    assert len(cut(tmp_path, b"1\n2\n", plan(split_type="Line", content_type="application/json"))) == 2
    assert len(cut(tmp_path, b"1\n2\n", plan(split_type="Line", content_type="application/jsonlines"))) == 1


@pytest.mark.parametrize("is_gzip", [False, True])
@pytest.mark.parametrize("chosen", [{}, {"strategy": "SingleRecord"}])
def test_from_each_mark_on_come_the_batches_that_are_left(tmp_path, chosen, is_gzip):
    data = b"".join(b"%d,%s\r\n\n" % (number, b"y" * 400_000) for number in range(8))
    stored = gzip.compress(data) if is_gzip else data
    chosen = plan(split_type="Line", payload=1, **chosen)
    batches = cut(tmp_path, stored, chosen, is_gzip=is_gzip)
    assert len(batches) > 3
    for place, batch in enumerate(batches):
        assert cut(tmp_path, stored, chosen, start=batch.after, is_gzip=is_gzip) == batches[place + 1 :]
    whole = plan()
    (only,) = cut(tmp_path, b"abc", whole)
    assert cut(tmp_path, b"abc", whole, start=only.after) == []


def test_what_is_longer_than_a_payload_is_told_with_its_line(tmp_path):
    data = b"short\n" + b"z" * (2**20 + 1) + b"\nshort\n"
    for chosen in ({}, {"strategy": "SingleRecord"}):
        with pytest.raises(InvalidData, match=r"^s3://data/in/a\.csv line 2: is longer than the 1048576 bytes"):
            cut(tmp_path, data, plan(split_type="Line", payload=1, **chosen))
    with pytest.raises(InvalidData, match=r"^s3://data/in/a\.csv: is longer than the 1048576 bytes.*SplitType Line"):
        cut(tmp_path, data, plan(payload=1))
    fits = b"z" * 2**20
    assert shown(cut(tmp_path, fits + b"\r\n", plan(split_type="Line", payload=1))) == [[(1, fits)]]
    assert shown(cut(tmp_path, data, plan(payload=0))) == [[(1, data)]]


def test_gzip_that_unpacks_to_too_much_or_not_at_all_is_told(tmp_path):
    single = plan(split_type="Line", strategy="SingleRecord")
    packed = gzip.compress(b"1\n" * 1000)
    assert len(cut(tmp_path, packed, single, is_gzip=True)) == 1000
    with pytest.raises(InvalidData, match="unpacks to more than 500 bytes"):
        cut(tmp_path, packed, single, is_gzip=True, most_bytes=500)
    for broken in (packed[:-9], b"1\n2\n", packed[:20] + b"\0\0" + packed[22:]):
        with pytest.raises(InvalidData, match=r"in/a\.csv: is no whole gzip object"):
            cut(tmp_path, broken, single, is_gzip=True)


def test_a_bomb_of_one_line_is_never_held(tmp_path):
    with pytest.raises(InvalidData, match="line 1: is longer than the 1048576 bytes"):
        cut(tmp_path, gzip.compress(bytes(2**27)), plan(split_type="Line", payload=1), is_gzip=True)
