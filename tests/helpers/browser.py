"""Chromium, where it is installed."""

import shutil

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
