# List these.
default:
    @just --list

# Lint, spelling and types.
check:
    ruff check
    ruff format --check
    codespell
    mypy

# All tests, or those that are named.
test *arguments:
    pytest {{arguments}}

# The tests without those that train for real.
fast *arguments:
    pytest -m 'not slow' {{arguments}}

# Write what pages and recipes/schema.json repeat from the code.
docs:
    python docs/cogs.py

# The documentation as a site, in build/site; `mkdocs serve` shows it.
site:
    mkdocs build

# All that CI runs, in a fresh virtual environment.
ci:
    .ci/run
