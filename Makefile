# Two commands set everything up: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
READY := $(VENV)/.ready

SOURCES := setup.py noxfile.py pspnet_plugin benchmarks configs tools tests
PAGES := README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md docs/*.md

DEMO_DATA := data/demo_pairs
DEMO_RUN := work_dirs/psp_demo
STREET := work_dirs/street

.PHONY: demo pictures lint types test test-all test-integration test-browser test-slow compat \
    install clean-demo
.DELETE_ON_ERROR:

# Generate pairs, train, test and report; then label a real photo by a trained network of the zoo.
# Finished steps are kept; an interrupted training resumes.
demo: $(DEMO_RUN)/report.html $(STREET)/overlay/china.jpg
	@echo "Scores, weak classes and error maps: open $< in a browser"
	@echo "A real photo, labelled by a network of the zoo: $(STREET)/overlay/china.jpg"

# A sample photo of scikit-learn, by danielbuechele, CC BY 2.0.
PHOTO := distribution("scikit-learn").locate_file("sklearn/datasets/images/china.jpg")
$(STREET)/overlay/china.jpg: weights/SHA256SUMS | $(READY)
	rm -rf $(STREET)
	$(BIN)/python tools/predict.py --out $(STREET) \
	    "$$($(BIN)/python -c 'from importlib.metadata import distribution; print($(PHOTO))')"

$(DEMO_RUN)/report.html: $(DEMO_RUN)/.tested
	$(BIN)/python tools/analysis_tools/report.py $(DEMO_RUN)

$(DEMO_RUN)/.tested: $(DEMO_RUN)/.trained
	$(BIN)/python tools/test.py configs/psp_demo.py \
	    $(DEMO_RUN)/$$(basename "$$(cat $(DEMO_RUN)/last_checkpoint)") --work-dir $(DEMO_RUN)
	touch $@

$(DEMO_RUN)/.trained: $(DEMO_DATA)/.complete
	$(BIN)/python tools/train.py configs/psp_demo.py --work-dir $(DEMO_RUN) --resume
	touch $@

$(DEMO_DATA)/.complete: | $(READY)
	$(BIN)/python tools/dataset_converters/make_pairs.py synthetic $(DEMO_DATA) \
	    --train 400 --val 60 --seed 0
	touch $@

# The image of the README, from the demo's generated scenes.
pictures: demo
	$(BIN)/python tools/analysis_tools/report.py $(DEMO_RUN) --pictures 1 --out work_dirs/readme.html
	$(BIN)/python -c "from PIL import Image; \
	    Image.open('work_dirs/readme/pictures.png').convert('RGB').save('docs/demo.jpg', quality=65)"

# One thread each: two processes of two threads on two cores would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
END_TO_END := tests/integration/test_end_to_end.py

# The gate before each commit: lint, types, unit tests, and the whole way once on a tiny run.
test: lint types
	$(PYTEST) tests/unit $(END_TO_END)

# Real programs in processes, browsers, exports.
test-integration: $(READY)
	$(PYTEST) tests/integration --deselect $(END_TO_END)

# Everything but tests/slow.
test-all: lint types
	$(PYTEST) tests/unit tests/integration

# Only the pages in Chromium; part of test-integration where Chromium is installed.
test-browser: $(READY)
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
	    command -v $$name >/dev/null && exit 0; done; \
	    echo "Chromium is needed; on Debian and Ubuntu: apt-get install chromium" >&2; exit 1
	$(BIN)/python -m pytest -m browser tests/integration

# Minutes each: kills, full disks, many ranks. As root on Linux: one test mounts a file system.
test-slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s tests/slow

# The suite with other Pythons, other versions of torch and the other family of the framework, into
# docs/compat.md. Takes hours, and 5 GB in .nox for each environment.
compat: $(READY)
	$(BIN)/nox -s suite compat_table

lint: $(READY)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/codespell $(SOURCES) $(PAGES)

types: $(READY)
	$(BIN)/mypy

install: $(READY)

$(READY): pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	    echo "Python 3.10 or newer is needed; say which by: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	    echo "$(PYTHON) lacks venv; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --no-compile -c constraints.txt -e '.[onedl,dev,deploy,keras,pretrained,web]'
	@$(BIN)/python -c 'import cv2' || { \
	    echo "OpenCV lacks a system library; on Debian and Ubuntu: apt-get install libgl1 libglib2.0-0" >&2; \
	    exit 1; }
	touch $@

clean-demo:
	rm -rf $(DEMO_DATA) $(DEMO_RUN) $(STREET)
