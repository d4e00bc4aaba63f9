from dataclasses import replace

import pytest

import houses
from gyropilot.control import admission
from gyropilot.errors import InvalidRequest, MissingExtra
from mean_problem import MEAN


def test_a_problem_whose_packages_are_not_installed_is_refused_before_a_job_exists(tmp_path):
    needy = replace(MEAN, extra="numbers", modules=("json", "no_such_module"))
    house = houses.build(tmp_path, (needy,))
    try:
        with pytest.raises(MissingExtra, match=r"no_such_module.*gyropilot\[numbers\]"):
            admission.admit(house, houses.admin(house), houses.mean_request(), region=houses.REGION)
    finally:
        house.db.close()


def test_a_problem_whose_packages_are_installed_is_taken(tmp_path):
    house = houses.build(tmp_path, (replace(MEAN, modules=("json",)),))
    try:
        problem, _ = admission.admit(house, houses.admin(house), houses.mean_request(), region=houses.REGION)
        assert problem.modules == ("json",)
    finally:
        house.db.close()


def test_a_channel_without_a_place_is_refused_by_name(tmp_path):
    house = houses.build(tmp_path, (MEAN,))
    request = houses.mean_request(AutoMLJobInputDataConfig=[{"ChannelType": "training"}])
    try:
        with pytest.raises(InvalidRequest, match=r"AutoMLJobInputDataConfig\[0\].DataSource: is missing"):
            admission.admit(house, houses.admin(house), request, region=houses.REGION)
    finally:
        house.db.close()
