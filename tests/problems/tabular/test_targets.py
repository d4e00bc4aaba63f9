import numpy as np
import pyarrow as pa
import pytest

from gyropilot.errors import InvalidData
from gyropilot.problems.tabular import targets

NAN = float("nan")


def read(*fields, problem_type=None, times=1):
    return targets.read(pa.array(fields * times, pa.large_string()), problem_type, where="t.csv: column 'y'")


@pytest.mark.parametrize(
    ("fields", "labels"),
    [
        (("yes", "no"), ("no", "yes")),
        (("True", "False"), ("False", "True")),
        (("True.", "False."), ("False.", "True.")),
        (("1", "0"), ("0", "1")),
        (("2", "1"), ("1", "2")),
        (("-1", "1"), ("-1", "1")),
        (("10", "9"), ("9", "10")),
        ((" >50K", "<=50K"), ("<=50K", ">50K")),
        (("positive", "zero"), ("zero", "positive")),
        (("sick", "no"), ("no", "sick")),
    ],
)
def test_of_two_classes_the_positive_one_is_last(fields, labels):
    target = read(*fields, times=9)
    assert (target.problem_type, target.labels) == ("BinaryClassification", labels)


@pytest.mark.parametrize(
    ("fields", "problem_type"),
    [
        (["red", "green", "blue"] * 9, "MulticlassClassification"),
        ([str(row % 10) for row in range(200)], "MulticlassClassification"),
        ([str(row % 3) for row in range(30)], "MulticlassClassification"),
        ([f"{row / 7:.3f}" for row in range(50)], "Regression"),
        ([str(row) for row in range(60)], "Regression"),
        ([str(row * 3) for row in range(15)], "Regression"),
        ([*(f"{row / 7:.3f}" for row in range(60)), "none yet"], "Regression"),
    ],
)
def test_the_problem_type_is_told_from_the_values(fields, problem_type):
    assert read(*fields).problem_type == problem_type


@pytest.mark.parametrize(
    "fields",
    [
        [str(row % 25) for row in range(1000)],
        [str(row % 5 / 2) for row in range(1000)],
        [f"name {row}" for row in range(50)],
        ["1", "2", "3", "7"] * 2,
    ],
    ids=["25 whole numbers", "5 halves", "names", "8 rows"],
)
def test_what_is_not_sure_is_left_to_the_user(fields):
    with pytest.raises(InvalidData, match=r"t.csv: column 'y': it cannot be told.*set ProblemType"):
        read(*fields)


def test_equal_numbers_are_one_class_named_as_most_are():
    target = read("1", "2", "1.0", "1", "02", "2")
    assert target.labels == ("1", "2")
    assert target.values.tolist() == [0, 1, 0, 0, 1, 1]


def test_classes_that_are_numbers_stand_in_their_order():
    assert read(*map(str, range(12)), problem_type="MulticlassClassification", times=3).labels[-2:] == ("10", "11")


def test_bad_targets_are_left_out_and_counted_by_kind():
    target = read("1.5", "", "inf", "nan", "some", None, "2.5", "-Infinity", problem_type="Regression")
    assert target.bad == {"missing": 3, "infinite": 2, "no number": 1}
    np.testing.assert_array_equal(target.values, [1.5, NAN, NAN, NAN, NAN, NAN, 2.5, NAN])
    assert target.usable.sum() == 2


def test_a_validation_target_is_read_as_the_training_one():
    training = read("1", "2", times=5)
    target, unknown = targets.read_like(
        pa.array(["2.0", "1", "3", "", None], pa.large_string()), training, where="v.csv: column 'y'"
    )
    np.testing.assert_array_equal(target.values, [1, 0, NAN, NAN, NAN])
    assert (unknown, target.bad) == ({"3": 1}, {"missing": 2})
    with pytest.raises(InvalidData, match=r"v.csv: column 'y': no row has a target such as"):
        targets.read_like(pa.array(["3"], pa.large_string()), training, where="v.csv: column 'y'")
