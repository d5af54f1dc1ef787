"""Reports on arrays and folders: digits, samples of any kind, sets of pictures, pictures in pairs; and how they are drawn.

`efm_jax.models.evaluate` makes the report of a trained run or model from these.
"""

from typing import TYPE_CHECKING

from efm_jax._core import lazy

if TYPE_CHECKING:
    from efm_jax.evaluation.digits import generation_report, translation_report
    from efm_jax.evaluation.paired import paired_folders_report, paired_report
    from efm_jax.evaluation.pictures import folders_report, pictures_report
    from efm_jax.evaluation.samples import samples_report

__all__ = [
    "folders_report",
    "generation_report",
    "paired_folders_report",
    "paired_report",
    "pictures_report",
    "samples_report",
    "translation_report",
]

__getattr__ = lazy.attach(
    __name__,
    {
        "folders_report": "pictures",
        "generation_report": "digits",
        "paired_folders_report": "paired",
        "paired_report": "paired",
        "pictures_report": "pictures",
        "samples_report": "samples",
        "translation_report": "digits",
    },
)
