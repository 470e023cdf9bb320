"""Photos degraded for training: blur, noise, compression."""

import numpy as np
import pytest
from helpers.pairs import photo
from mmseg.registry import TRANSFORMS


def degrade(image, **options):
    transform = TRANSFORMS.build(dict(type='RandomDegradation', **options))
    return transform(dict(img=image))['img']


NONE = dict(sigma=(0.01, 0.01), noise=(0, 0), quality=(100, 100))


@pytest.mark.parametrize(
    ('strong', 'low', 'high'),
    [(dict(sigma=(2, 2)), 60, 80), (dict(noise=(9, 9)), 7, 9.5), (dict(quality=(5, 5)), 50, 70)],
)
def test_each_degradation_is_drawn_as_often(strong, low, high):
    image = np.repeat(photo(64, 96)[..., :1], 3, axis=2)  # grey: JPEG keeps colours by halves
    before, changed = image.copy(), []
    for seed in range(90):
        np.random.seed(seed)
        found = degrade(image, prob=1, **{**NONE, **strong})
        assert found.shape == image.shape and found.dtype == np.uint8
        difference = (found.astype(float) - image).std()
        if difference > 5:  # JPEG of the highest quality changes noise by less
            assert low < difference < high
            changed.append(found)
    assert 15 < len(changed) < 45
    assert (image == before).all(), 'the photo given is not changed'


def test_probability_and_seed_are_kept():
    image = photo(32, 32)
    assert degrade(image, prob=0) is image
    np.random.seed(0)
    changed = [not np.array_equal(degrade(image, prob=0.5), image) for _ in range(200)]
    assert 70 < sum(changed) < 130
    found = []
    for _ in range(2):
        np.random.seed(3)
        found.append(degrade(image, prob=1))
    assert np.array_equal(*found)
    for prob in (-0.1, 1.5):
        with pytest.raises(ValueError, match=f'prob={prob}'):
            degrade(image, prob=prob)
    for options in (dict(sigma=(0, 1)), dict(noise=(9, 2)), dict(quality=(50, 101))):
        with pytest.raises(ValueError, match=next(iter(options))):
            degrade(image, **options)
    with pytest.raises(ValueError, match='float32'):
        degrade(image.astype(np.float32))
