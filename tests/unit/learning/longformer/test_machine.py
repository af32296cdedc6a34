"""Asking the machine: only what cannot depend on how busy it is."""

import torch

from postq.learning.longformer import machine
from postq.learning.longformer.machine import fastest_threads


def test_every_longformer_test_begins_with_one_thread_and_the_same_seed():
    assert torch.get_num_threads() == 1
    assert torch.initial_seed() == 0


def test_the_fastest_thread_count_is_one_of_the_candidates_and_leaves_the_setting():
    before = torch.get_num_threads()
    assert fastest_threads([1, 2]) in {1, 2}
    assert fastest_threads() >= 1
    assert torch.get_num_threads() == before


def test_the_quickest_candidate_wins_and_ties_go_to_fewer_threads(monkeypatch):
    clock = {1: 3.0, 2: 1.0, 4: 1.0}
    monkeypatch.setattr(machine, "_seconds", lambda work: clock[torch.get_num_threads()])
    assert fastest_threads([4, 2, 1]) == 2


def test_the_bfloat16_speedup_is_measured():
    assert machine.bfloat16_speedup() > 0
