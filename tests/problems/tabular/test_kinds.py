import datetime
import random

import pyarrow as pa
import pytest

from gyropilot.problems.tabular import kinds
from gyropilot.problems.tabular.columns import COLUMN_KINDS


def look(*fields, times=10, sequences=True, declared=None):
    return kinds.look(pa.array(fields * times, pa.large_string()), allow_sequence=sequences, declared=declared)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        (("1", "2.5", "-3e-4", "+.5"), "numeric"),
        (("1,234", "12", "1,234,567.5"), "numeric"),
        (("$5", "€ 7", "12 %", "-$1,000"), "numeric"),
        (("1", "NA", "-", "", None), "numeric"),
        (("inf", "1", "2"), "numeric"),
        (("12,34", "5,6"), "categorical"),
        (("0x1f", "1_000"), "categorical"),
        (("00501", "10001"), "categorical"),
        (("1234567890123456", "2234567890123456"), "categorical"),
        (("true", "false"), "categorical"),
        (("a", "1", "b"), "categorical"),
        ((None, "", "NaN"), "categorical"),
        (("2024-01-31", "2024/02/01", "2024-02-01T10:00:00.5+02:00"), "datetime"),
        (("3/14/2024", "12/1/2024 10:00"), "datetime"),
        (("14.3.2024", "1.12.2024"), "datetime"),
        (("Mar 14 2024", "14-Mar-2024", "March 14, 2024"), "datetime"),
        (("2024-13-45", "2024-14-50"), "categorical"),
        (("1,2,3", "4,5,6.5,7"), "sequence"),
    ],
)
def test_a_column_is_of_the_kind_that_its_fields_are(fields, kind):
    assert look(*fields).kind == kind


def test_text_is_words_that_seldom_repeat():
    assert look(*(f"the parcel number {row} came late" for row in range(40)), times=1).kind == "text"
    assert look("came far too late", "came on time today", times=40).kind == "categorical"
    assert look(*(f"name{row}" for row in range(40)), times=1).kind == "categorical"


def test_a_sequence_is_no_kind_where_it_is_not_asked_for():
    assert look("1,2,3", "4,5,6.5,7", sequences=False).kind == "categorical"


def test_few_fields_of_another_kind_are_strays_and_many_change_the_kind():
    few = look(*map(str, range(97)), "much", "little", "inf", times=1)
    assert (few.kind, few.stray, few.strays, few.infinite) == ("numeric", 3, ("much", "little", "inf"), 1)
    assert look(*map(str, range(90)), *"abcdefghij", times=1).kind == "categorical"


def test_words_for_nothing_and_infinities_are_not_foreign_to_numbers():
    numbers = [str(one) for one in range(100)]
    assert not look(*numbers, "-", "none", "inf").has_foreign
    assert look(*numbers, "-", "much").has_foreign
    assert not look("red", "blue", "7").has_foreign


def test_missing_and_unique_fields_are_counted():
    facts = look("a", "b", " ", "?", None, "a", times=1)
    assert (facts.rows, facts.missing, facts.unique, facts.is_distinct) == (6, 3, 2, False)


def test_the_order_of_day_and_month_is_that_of_the_whole_column():
    assert look("13/02/2024", "01/03/2024").day_first
    fields = pa.array(["13/02/2024", "01/03/2024"])
    assert kinds.typed(fields, "datetime", day_first=True).to_pylist() == [
        datetime.datetime(2024, 2, 13),
        datetime.datetime(2024, 3, 1),
    ]
    assert kinds.typed(pa.array(["01/03/2024"]), "datetime", day_first=False).to_pylist() == [
        datetime.datetime(2024, 1, 3)
    ]


def test_times_are_in_utc_and_what_lies_out_of_range_is_missing():
    zoned = ["2024-01-01T10:00:00+02:00", "2024-01-01T10:00:00.5-0500", "2024-01-01 10:00:00Z"]
    fields = pa.array([*zoned, "2024-01-01 10:00", "9999-12-31", "soon", None])
    assert kinds.typed(fields, "datetime", day_first=False).to_pylist() == [
        datetime.datetime(2024, 1, 1, 8),
        datetime.datetime(2024, 1, 1, 15, 0, 0, 500_000),
        datetime.datetime(2024, 1, 1, 10),
        datetime.datetime(2024, 1, 1, 10),
        None,
        None,
        None,
    ]


def test_numbers_are_read_as_they_are_written_by_people():
    fields = pa.array(["1", " 2.5 ", "$1,234.5", "5 %", "-1e3", "1e999", "-inf", "1_0", "", None, "1,23", "None"])
    values = [1, 2.5, 1234.5, 5, -1000, None, None, None, None, None, None, None]
    assert kinds.typed(fields, "numeric", day_first=False).to_pylist() == values


def test_truth_values_are_written_alike():
    fields = pa.array(["True", "FALSE", "true", "Truth"])
    assert kinds.typed(fields, "categorical", day_first=False).to_pylist() == ["true", "false", "true", "Truth"]


def test_no_text_breaks_the_reading_of_any_kind():
    draw = random.Random(3)
    pieces = [
        "1",
        "23",
        "e5",
        "E+9999",
        ".",
        ",",
        "-",
        "+",
        "$",
        "€",
        "%",
        " ",
        ":",
        "/",
        "T",
        "Z",
        "inf",
        "nan",
        "a",
        "é",
    ]
    pieces += ["2024", "2024-01-01", "13/13/2024", "10:30", "+02:00", "Mar ", "\u00a0", "\t", '"', "[", "]", "🙂", "٣"]
    fields = ["".join(draw.choices(pieces, k=draw.randint(0, 5))) for _ in range(3000)]
    for kind in COLUMN_KINDS:
        for day_first in (False, True):
            typed = kinds.typed(pa.array(fields), kind, day_first=day_first)
            assert len(typed) == len(fields)
    for start in range(0, 3000, 30):
        kinds.look(pa.array(fields[start : start + 30]), allow_sequence=True)
