import pytest

from gyropilot.data import thrift


def test_whole_numbers_are_read_by_field_and_the_rest_passed_over():
    data = (
        b"\x15\x00" + b"\x15\x09" + b"\x18\x03abc" + b"\x29\x2c\x15\x02\x00\x15\x04\x00" + b"\x16\xac\x02" + b"\x00tail"
    )
    numbers, length = thrift.numbers_of(data)
    assert numbers == {1: 0, 2: -5, 6: 150}
    assert data[length:] == b"tail"


def test_structs_are_counted_those_in_lists_among_them():
    data = b"\x1c\x15\x00\x00" + b"\x19\x3c\x00\x00\x00" + b"\x00"
    assert thrift.count_structs(data, at_most=5) == 5
    with pytest.raises(thrift.TooMany, match="more than 4"):
        thrift.count_structs(data, at_most=4)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x15",
        b"\x15\x80",
        b"\x18\xff\xff\xff\xff\x0fabc\x00",
        b"\x1b\x01\x88\x00",
        b"\x1e\x00",
        b"\x15" + b"\xff" * 12,
        b"\x1c" * 100,
        b"\x19" * 100,
        b"\x19\xfc\xff\xff\xff\xff\x0f\x00",
        b"\x17\x00\x00",
    ],
)
def test_what_is_no_struct_is_refused_at_once(data):
    with pytest.raises(thrift.NotThrift):
        thrift.count_structs(data, at_most=1000)
