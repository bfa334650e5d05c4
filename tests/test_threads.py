import threading
import time

import pytest
import torch

from gluonts_dualkl.threads import in_threads


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_order(workers):
    def slow_at_first(k):
        time.sleep(0.02 if k % 3 == 0 else 0)
        return k

    assert list(in_threads(slow_at_first, range(10), workers)) == list(range(10))
    assert list(in_threads(slow_at_first, [], workers)) == []


def test_items_are_worked_at_side_by_side():
    meeting = threading.Barrier(2, timeout=10)
    assert len(list(in_threads(lambda _: meeting.wait(), range(4), 2))) == 4


@pytest.mark.parametrize("workers", [1, 2])
def test_one_tensor_thread_each_and_the_number_is_restored(two_threads, workers):
    seen = list(in_threads(lambda _: torch.get_num_threads(), range(3), workers))
    assert seen == [1, 1, 1]
    assert torch.get_num_threads() == two_threads
    later = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [two_threads]


@pytest.mark.parametrize("workers", [1, 2])
def test_who_stops_early_leaves_the_rest_undone(two_threads, workers):
    begun = []
    stream = in_threads(begun.append, range(1000), workers)
    next(stream)
    stream.close()
    assert len(begun) <= 2 * workers
    assert torch.get_num_threads() == two_threads


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_out_where_its_item_would(workers):
    stream = in_threads(lambda k: 1 // (k - 1), range(3), workers)
    assert next(stream) == -1
    with pytest.raises(ZeroDivisionError):
        next(stream)
