"""A training step at the article's sizes changes the weights as under Keras."""

import torch
from helpers.article import check_training_step


def test_float32_weights_after_a_step_match_keras():
    check_training_step((256, 256), torch.float32)


def test_float64_changes_of_a_wide_image_match_keras():
    check_training_step((128, 384), torch.float64)
