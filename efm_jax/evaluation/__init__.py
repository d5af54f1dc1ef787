"""Reports on samples: of digits, of folders of pictures, of true partners."""

from typing import TYPE_CHECKING

from efm_jax._core import lazy

if TYPE_CHECKING:
    from efm_jax.evaluation.digits import generation_report, samples_report, translation_report
    from efm_jax.evaluation.folders import folders_report, pictures_report
    from efm_jax.evaluation.partners import folders_partners_report, partners_report

__all__ = [
    "folders_partners_report",
    "folders_report",
    "generation_report",
    "partners_report",
    "pictures_report",
    "samples_report",
    "translation_report",
]

__getattr__ = lazy.attach(
    __name__,
    {
        "folders_partners_report": "partners",
        "folders_report": "folders",
        "generation_report": "digits",
        "partners_report": "partners",
        "pictures_report": "folders",
        "samples_report": "digits",
        "translation_report": "digits",
    },
)
