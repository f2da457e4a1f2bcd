"""From Python values to JSON and back, by annotation, so that what arrives is equal to what was sent."""

from asyncq.serializers.arguments import ArgumentCodec
from asyncq.serializers.results import ResultCodec

__all__ = ["ArgumentCodec", "ResultCodec"]
