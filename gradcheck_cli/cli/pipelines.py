"""The pipeline files of `gradcheck init --ci`: a template each, and what to do where one is there already."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

import gradcheck_cli

_GITHUB = """\
# Checks the gradients on every change. A wrong formula is annotated in the diff, the step's summary holds the
# tables, and the page gradcheck.html is among the artifacts of the run.
name: gradcheck
on:
  pull_request:
  push:
    branches: [main, master]

permissions:
  contents: read

jobs:
  gradients:
    runs-on: ubuntu-latest
    timeout-minutes: 30
    steps:
      - uses: actions/checkout@v7
        with:
          persist-credentials: false
      - uses: actions/setup-python@v7
        with:
          python-version: "3.13"
          cache: pip
          cache-dependency-path: .github/workflows/gradcheck.yml
      # PyTorch comes with gigabytes of CUDA. Its CPU build is a tenth of that: install it first, from the
      # index that PyTorch's installation page names, or take the project's own requirements.
      # - run: pip install torch --index-url INDEX
      - run: pip install {package}
      # For specs with an `implementation`, which import the project's own code:
      # - run: pip install -e .
      - run: |
          gradcheck compare {specs} -j auto --timeout 5m --report gradcheck.html
      - uses: actions/upload-artifact@v7
        if: ${{{{ !cancelled() }}}}
        with:
          name: gradcheck
          path: gradcheck.html
          if-no-files-found: ignore
"""
_GITLAB = """\
# Checks the gradients on every change. Merge requests show failed checks under "Tests" and wrong formulas
# in the code quality widget; the page gradcheck.html is among the job's artifacts.
gradcheck:
  image: python:3.13-slim
  stage: test
  timeout: 30 minutes
  variables:
    PIP_CACHE_DIR: $CI_PROJECT_DIR/.cache/pip
  cache:
    key: gradcheck-pip
    paths:
      - .cache/pip
  script:
    # PyTorch comes with gigabytes of CUDA. Its CPU build is a tenth of that: install it first, from the
    # index that PyTorch's installation page names, or take the project's own requirements.
    # - pip install torch --index-url INDEX
    - pip install {package}
    # For specs with an `implementation`, which import the project's own code:
    # - pip install -e .
    - |
      gradcheck compare {specs} -j auto --timeout 5m \\
        --report junit=gradcheck.xml \\
        --report gitlab=gl-code-quality-report.json \\
        --report gradcheck.html
  artifacts:
    when: always
    expose_as: gradcheck
    paths:
      - gradcheck.html
    reports:
      junit: gradcheck.xml
      codequality: gl-code-quality-report.json
"""
_PRE_COMMIT = """\
# Before each commit: specs that changed are read, and their gradients checked. YAML and JSON files that
# are no specs are passed over. `system` is the environment that is active, with the project's PyTorch.
repos:
  - repo: local
    hooks:
      - id: gradcheck-validate
        name: gradcheck validate
        entry: gradcheck validate --specs-only --quiet
        language: system
        types_or: [yaml, json]
      - id: gradcheck-compare
        name: gradcheck compare
        entry: gradcheck compare --specs-only --quiet
        language: system
        types_or: [yaml, json]
        # One process for all files: PyTorch is imported once.
        require_serial: true
"""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A service's file.

    Where `path` is there already, `beside` is written in its place; `add` is what a person then adds to it.
    """

    path: str
    template: str
    add: str
    beside: str | None = None

    def text(self, specs: str) -> str:
        """The file, for the specs in a folder or file relative to the project's root."""
        package = f"gradcheck-cli=={gradcheck_cli.__version__}"
        return self.template.format(package=package, specs=shlex.quote(specs))


PIPELINES = {
    "github": Pipeline(".github/workflows/gradcheck.yml", _GITHUB, ""),
    "gitlab": Pipeline(
        ".gitlab-ci.yml",
        _GITLAB,
        "include:\n  - local: gradcheck.gitlab-ci.yml",
        "gradcheck.gitlab-ci.yml",
    ),
    "pre-commit": Pipeline(
        ".pre-commit-config.yaml", _PRE_COMMIT, _PRE_COMMIT.partition("repos:\n")[2].rstrip()
    ),
}
