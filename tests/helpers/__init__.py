"""Building blocks of the tests: small seeded pairs, programs run for real, trainings."""
