"""Every option of every stage, declared once: flag, YAML key, line of help and saved record."""

from loupe.options.build import BuildOptions
from loupe.options.calibrate import CalibrateOptions
from loupe.options.compare import CompareOptions
from loupe.options.curve import CurveOptions
from loupe.options.doctor import DoctorOptions
from loupe.options.evaluate import EvaluateOptions
from loupe.options.predict import PredictOptions
from loupe.options.prefer import PreferOptions
from loupe.options.reading import Decoding, PriceReading
from loupe.options.sample import SampleOptions
from loupe.options.save import save_options
from loupe.options.train import PARTS, TrainOptions

__all__ = [
    "PARTS",
    "BuildOptions",
    "CalibrateOptions",
    "CompareOptions",
    "CurveOptions",
    "Decoding",
    "DoctorOptions",
    "EvaluateOptions",
    "PredictOptions",
    "PreferOptions",
    "PriceReading",
    "SampleOptions",
    "TrainOptions",
    "save_options",
]
