"""Training: state, optimizer, one step on one device or many."""

from efm_jax.training.optimizer import adam
from efm_jax.training.state import StepInfo, TrainState, ema_params, init_state
from efm_jax.training.step import make_train_step

__all__ = ["StepInfo", "TrainState", "adam", "ema_params", "init_state", "make_train_step"]
