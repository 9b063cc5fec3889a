"""Parametric heads: driving codes, the face model contract, the built-in procedural head and readers of others."""

from .code import HeadCode
from .face_model import Appearance, FaceModel, Material
from .procedural import ProceduralHead
from .registry import load_face_model

__all__ = ["Appearance", "FaceModel", "HeadCode", "Material", "ProceduralHead", "load_face_model"]
