"""The recordings that come with the package."""

import importlib.resources

import numpy as np

from .recordings import Recordings


def japanese_vowels(split: str) -> Recordings:
    """640 utterances of /ae/ by nine speakers, twelve LPC cepstra a frame: 270 to train, 370 to test, labels 0 to 8.

    Kudo, Toyama and Shimbo (1999), UCI Machine Learning Repository, CC BY 4.0; see data/README.md in the package.

    Arguments:
        split: "train" or "test".

    Returns `Recordings`. Raises ValueError for another split or a damaged file.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', got {split!r}.")
    file = importlib.resources.files("lagrangian_learning") / "data" / "japanese_vowels.npz"
    with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
        frames, lengths, speaker = (arrays[f"{split}_{name}"] for name in ("frames", "lengths", "speaker"))
    recordings = Recordings(frames, lengths.astype(np.int32), speaker.astype(np.int32))
    expected = {"train": (4274, 12, 270, 9), "test": (5687, 12, 370, 9)}[split]
    found = (recordings.num_frames, recordings.num_channels, recordings.num_recordings, recordings.num_labels)
    if found != expected:
        raise ValueError(f"japanese_vowels.npz is damaged: {found} instead of {expected}; install the package again.")
    return recordings
