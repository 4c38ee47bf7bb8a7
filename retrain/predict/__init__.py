"""Maps of photographs; also `python -m retrain.predict`."""

from retrain.predict.files import Job, plan
from retrain.predict.maps import contact, predict_map, read_photo

__all__ = ["Job", "contact", "plan", "predict_map", "read_photo"]
