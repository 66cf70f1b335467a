"""Doctor: a checkpoint in; what is wrong with its weights, its processor and its eyes, and why."""

from loupe.doctor.stage import DoctorResult, examine_checkpoint

__all__ = ["DoctorResult", "examine_checkpoint"]
