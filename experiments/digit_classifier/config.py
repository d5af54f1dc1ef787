"""Settings of the digit reader's training."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Every choice the training makes; `result.json` repeats them.

    Attributes:
        seed: Seed of initialization, order, augmentation and colors.
        epochs: Passes over the 55,000 training digits.
        batch: Digits per step.
        non_digits: Pictures per step that show no digit, taught to give equal class probabilities.
        calibration: Training digits kept out to fit the temperature.
        learning_rate: Peak of a one-cycle cosine schedule for Adam.
        weight_decay: Decoupled weight decay.
        shift: Largest shift, pixels.
        turn: Largest rotation, degrees.
        stretch: Largest relative change of size, and of shear.
        gain: Smallest factor on brightness (largest 1).
        noise: Largest standard deviation of added noise, brightness in [0, 1].
        dropout: Share of features dropped before the last layer.
        confident: Confidence above which a picture counts as read.
    """

    seed: int = 0
    epochs: int = 8
    batch: int = 128
    non_digits: int = 15
    calibration: int = 5_000
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    shift: float = 2.5
    turn: float = 8.0
    stretch: float = 0.1
    gain: float = 0.6
    noise: float = 0.1
    dropout: float = 0.3
    confident: float = 0.9
