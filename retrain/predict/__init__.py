"""Maps of photographs; also `python -m retrain.predict`."""

from nas.task import read_image as read_photo
from retrain.predict.files import Job, plan
from retrain.predict.pictures import contact
from retrain.predictor import predict_map

__all__ = ["Job", "contact", "plan", "predict_map", "read_photo"]
