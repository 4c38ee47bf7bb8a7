"""Maps of photographs; also `python -m retrain.predict`."""

from retrain.predict.files import Job, Plan, plan

__all__ = ["Job", "Plan", "plan"]
