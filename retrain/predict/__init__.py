"""Maps of photographs; also `python -m retrain.predict`."""

from nas.task import read_image as read_photo
from retrain.pictures import contact, cutout
from retrain.predict.files import Job, Plan, plan
from retrain.predictor import predict_map

__all__ = ["Job", "Plan", "contact", "cutout", "plan", "predict_map", "read_photo"]
