"""Metrics over whole sets."""

from pspnet_plugin.evaluation.iou_metric import ClasswiseIoUMetric

__all__ = ['ClasswiseIoUMetric']
