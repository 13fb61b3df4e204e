"""Labels and samples as people first give them: each refusal names what to give instead."""

import numpy as np
import pytest

import lagrangian_learning as ll

FRAMES = np.zeros((4, 2), np.float32)


def test_codes_are_asked_for_by_a_number_of_labels(unchecked):
    with pytest.raises(ValueError, match=r"an array of labels are ll\.data\.label_codes\(9\)\[labels\]"):
        ll.data.label_codes(np.array([0, 1, 1]))
    with pytest.raises(ValueError, match="how many labels there are"):
        ll.data.label_codes(0)


def test_labels_that_are_names_are_numbered(unchecked):
    with pytest.raises(ValueError, match=r"np\.unique\(labels, return_inverse=True\)\[1\]"):
        ll.data.Recordings(FRAMES, np.array([2, 2]), np.array(["a", "b"]))


def test_labels_from_one_need_a_code_more():
    recordings = ll.data.Recordings(FRAMES, np.array([2, 2]), np.array([1, 2]))
    with pytest.raises(
        ValueError, match=r"one row for each label from 0 to the largest, 2, such as .*label_codes\(3\)"
    ):
        recordings.stream(np.array([0, 1]), ll.data.label_codes(2))


def test_samples_that_lie_across_are_turned():
    with pytest.raises(ValueError, match=r"got \(2, 4\): samples come first, give values\.T"):
        ll.Sampled(np.arange(4.0), np.zeros((2, 4)))
