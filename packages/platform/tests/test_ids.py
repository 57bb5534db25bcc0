import time
import uuid

from service_platform.ids import new_id


def test_an_id_is_a_uuid_of_version_7_with_the_present_time() -> None:
    made = new_id()
    assert isinstance(made, uuid.UUID)
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert abs((made.int >> 80) / 1000 - time.time()) < 60


def test_later_ids_sort_after_earlier_ones() -> None:
    made = [new_id() for _ in range(10_000)]
    assert made == sorted(set(made))
