"""Scores of whole sets."""

from pspnet_plugin.evaluation.classwise_iou import ClasswiseIoUMetric

__all__ = ['ClasswiseIoUMetric']
