import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.data import Recordings, japanese_vowels, label_codes, standardise


@pytest.fixture(scope="module")
def train():
    return japanese_vowels("train")


def small():
    frames = np.arange(20.0).reshape(10, 2) ** 1.5
    return Recordings(frames, np.array([3, 2, 4, 1]), np.array([0, 1, 0, 1]))


def test_the_data_set_is_the_published_one(train):
    """Figures of the data set's own description: recordings by speaker, lengths, channels."""
    test = japanese_vowels("test")
    assert (train.num_recordings, test.num_recordings) == (270, 370)
    assert (train.num_channels, train.num_labels) == (12, 9)
    assert (train.num_frames, test.num_frames) == (4274, 5687)
    np.testing.assert_array_equal(np.bincount(train.labels), [30] * 9)
    np.testing.assert_array_equal(np.bincount(test.labels), [31, 35, 88, 44, 29, 24, 40, 50, 29])
    assert (min(train.lengths.min(), test.lengths.min()), max(train.lengths.max(), test.lengths.max())) == (7, 29)
    np.testing.assert_allclose(train.frames[0, :3], [1.860936, -0.207383, 0.261557], rtol=1e-6)


def test_slices_and_selection():
    recordings = small()
    assert recordings.slices == (slice(0, 3), slice(3, 5), slice(5, 9), slice(9, 10))
    chosen = recordings.select([2, 0])
    np.testing.assert_array_equal(chosen.frames, recordings.frames[[5, 6, 7, 8, 0, 1, 2]])
    np.testing.assert_array_equal(chosen.lengths, [4, 3])


def test_hold_out_takes_three_of_each_speaker_and_loses_none(train, key):
    learn, validation = train.hold_out(key)
    np.testing.assert_array_equal(np.bincount(validation.labels), [3] * 9)
    np.testing.assert_array_equal(np.bincount(learn.labels), [27] * 9)
    both = np.concatenate([learn.frames, validation.frames])
    np.testing.assert_array_equal(np.sort(both, axis=0), np.sort(train.frames, axis=0))
    again, _ = train.hold_out(key)
    np.testing.assert_array_equal(again.frames, learn.frames)
    other, _ = train.hold_out(jax.random.key(1))
    assert other.frames.shape != learn.frames.shape or np.any(other.frames != learn.frames)


def test_every_pass_is_a_permutation_of_its_own(train, key):
    order = train.shuffled(key, passes=3).reshape(3, 270)
    for one in order:
        np.testing.assert_array_equal(np.sort(one), np.arange(270))
    assert np.any(order[0] != order[1])


def test_a_stream_shows_each_frame_with_its_label(train, key):
    order = train.shuffled(key)
    stimulus = train.stream(order, label_codes(9))
    chosen = train.select(order)
    times = np.arange(0, 4274, 37)
    inputs, targets = jax.vmap(stimulus.input)(times), jax.vmap(stimulus.target)(times)
    np.testing.assert_allclose(inputs[:, :12], chosen.frames[times], atol=1e-6)
    np.testing.assert_array_equal(inputs[:, 12], 1.0)
    labels = np.repeat(chosen.labels, chosen.lengths)[times]
    np.testing.assert_array_equal(np.argmax(targets, axis=1), labels)
    np.testing.assert_array_equal(np.sort(targets, axis=1)[:, [0, 7, 8]], [[-1.0, -1.0, 1.0]] * len(times))
    assert stimulus.input.frames.dtype == jnp.float32
    assert stimulus.domain == (0.0, 4273.0)


def test_inside_an_utterance_the_target_stands_still():
    recordings = Recordings(np.ones((12, 2)), np.array([6, 6]), np.array([0, 1]))
    target = recordings.stream([0, 1], label_codes(2), constant=None).target
    np.testing.assert_array_equal(jax.vmap(target)(np.linspace(0.0, 5.0, 11)), [[1.0, -1.0]] * 11)
    np.testing.assert_array_equal(target(5.5), [0.0, 0.0])
    np.testing.assert_array_equal(jax.vmap(target)(np.linspace(6.0, 11.0, 11)), [[-1.0, 1.0]] * 11)


def test_statistics_come_from_the_first_alone(train):
    test = japanese_vowels("test")
    scaled, scaled_test = standardise(train, test)
    np.testing.assert_allclose(scaled.frames.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(scaled.frames.std(axis=0), 1.0, atol=1e-5)
    by_hand = (test.frames - train.frames.mean(axis=0)) / train.frames.std(axis=0)
    np.testing.assert_allclose(scaled_test.frames, by_hand, atol=1e-4)
    assert scaled.frames.dtype == np.float32


def test_utterances_are_judged_by_their_mean_output():
    recordings = small()
    outputs = jnp.asarray(np.random.default_rng(0).normal(size=(10, 2)))
    by_hand = np.stack([np.mean(outputs[s], axis=0) for s in recordings.slices])
    np.testing.assert_allclose(recordings.mean_outputs(outputs), by_hand, atol=1e-15)
    assert recordings.accuracy(outputs) == np.mean(np.argmax(by_hand, axis=1) == recordings.labels)
    assert recordings.accuracy(jnp.asarray(label_codes(2)[np.repeat(recordings.labels, recordings.lengths)])) == 1.0
    assert np.isnan(recordings.accuracy(outputs.at[3, 0].set(jnp.nan)))


BAD = {
    "nan": (lambda r: dataclasses.replace(r, frames=np.where(r.frames == 0, np.nan, r.frames)), "NaN or inf"),
    "rank": (lambda r: dataclasses.replace(r, frames=r.frames[:, 0]), "frames must be floating"),
    "lengths": (lambda r: dataclasses.replace(r, lengths=np.array([3, 2, 4, 2])), "add up to the 10 frames"),
    "zero length": (lambda r: dataclasses.replace(r, lengths=np.array([3, 3, 4, 0])), "must be positive"),
    "labels": (lambda r: dataclasses.replace(r, labels=np.array([0, 1])), "4 lengths but 2 labels"),
    "float labels": (lambda r: dataclasses.replace(r, labels=np.zeros(4)), "whole numbers"),
    "negative label": (lambda r: dataclasses.replace(r, labels=np.array([0, 1, -1, 1])), "count from 0"),
    "order": (lambda r: r.select([0, 4]), "numbered from 0 to 3"),
    "order empty": (lambda r: r.select([]), "row of whole numbers"),
    "order traced": (lambda r: jax.jit(lambda o: r.stream(o, label_codes(2)))(np.arange(4)), "cannot be traced"),
    "codes": (lambda r: r.stream([0, 1], np.zeros((1, 2))), "2 labels need codes"),
    "passes": (lambda r: r.shuffled(jax.random.key(0), 0), "at least one pass"),
    "hold out": (lambda r: r.hold_out(jax.random.key(0), 2), "leave at least one"),
    "outputs": (lambda r: r.accuracy(jnp.zeros((9, 2))), "have 10 frames"),
    "constant channel": (lambda r: standardise(dataclasses.replace(r, frames=np.ones((10, 2)))), "constant"),
    "channels": (lambda r: standardise(r, dataclasses.replace(r, frames=np.ones((10, 3)))), "2 and 3 channels"),
    "split": (lambda r: japanese_vowels("validation"), "'train' or 'test'"),
}


@pytest.mark.parametrize(("act", "message"), BAD.values(), ids=BAD.keys())
def test_bad_recordings_are_named(act, message):
    with pytest.raises(ValueError, match=message):
        act(small())
