from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gyropilot.store.object_names import RECORD_SUFFIX, place, read_name, stem_of_folder

KEYS = st.binary(min_size=1, max_size=600) | st.text(alphabet="aA/.%^@é", min_size=1, max_size=600).map(str.encode)


@given(KEYS)
def test_a_place_reads_back_as_its_key(key):
    folders, name = place(key)
    assert b"".join(stem_of_folder(folder) for folder in folders) + read_name(name) == key


@given(KEYS)
def test_a_place_is_safe_on_any_file_system(key):
    folders, name = place(key)
    for one in (*folders, name + RECORD_SUFFIX):
        assert 0 < len(one) <= 255
        assert one.isascii()
        assert one == one.lower()
        assert one not in (".", "..")
        assert not set(one) & set('/\\\0:*?"<>|')


@given(st.lists(KEYS, max_size=20))
def test_no_two_keys_share_a_place_nor_is_one_within_another(keys):
    places = {key: "/".join([*place(key)[0], place(key)[1] + RECORD_SUFFIX]) for key in keys}
    assert len(set(places.values())) == len(places)
    assert not any(a != b and a.startswith(b + "/") for a in places.values() for b in places.values())
