"""Every command that reads a model, on run folders full of traps, under an audit hook: nothing in them runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MANY = [
    "a metric's segmenter is a function",
    "modules beside the model",
    "pickles of all names",
    "YAML that calls functions",
    "what eval writes is a link to a secret",
    "README.md is a link to a secret",
]
SHOWN = ["blocks: 10,000", "weights are a pipe"]


@pytest.mark.slow
def test_no_command_runs_what_lies_in_a_folder() -> None:
    """One folder with the traps that lie beside a good model, all at once, then some by themselves; see benchmarks/traps.py."""
    command = [sys.executable, str(ROOT / "benchmarks" / "traps.py"), "--no-limits", "--together", *MANY, "--traps", *SHOWN]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAULT" not in done.stdout
    assert f"{len(SHOWN) + 1} traps" in done.stdout


@pytest.mark.parametrize("name", ["torch", "typing", "pathlib", "yaml", "typer", "i2i_metrics"])
def test_modules_in_the_current_folder_are_not_imported(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("import sys\nprint('imported')\nsys.exit(3)\n")
    done = subprocess.run(
        [sys.executable, "-m", "i2i", "--help"], cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ), check=False
    )
    assert (done.returncode, "imported" in done.stdout) == (0, False), done.stdout + done.stderr


def test_a_strangers_figures_bring_no_markup(tmp_path: Path) -> None:
    from i2i.errors import UserError, printable
    from i2i_evaluate.evaluation import FORMAT, read_result

    figure = {"name": "psnr", "value": 1, "better": "higher", "spread": None, "images": {}, "protocol": {}}
    good = {"format": FORMAT, "model": "m", "weights_sha256": "0", "step": 1, "notes": ["\x1b[2J"], "figures": [figure]}
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(good))
    assert read_result(path).notes == ["\\x1b[2J"]
    odd = ({"better": "<b>"}, {"name": "\x1b"}, {"value": 10**400}, {"protocol": {"direction": []}})
    for bad in ({"step": "<script>"}, *({"figures": [{**figure, **one}]} for one in odd)):
        path.write_text(json.dumps({**good, **bad}))
        with pytest.raises(UserError, match="not a result of i2i eval"):
            read_result(path)
    assert printable("é ✓\n\x07") == "é ✓\n\\x07"


def test_a_strangers_curves_and_recipes_are_numbers_and_names(tmp_path: Path) -> None:
    from i2i.training.log import keep_until, read_metrics
    from i2i_evaluate.kept import kept
    from i2i_watch.commands import runs, summary

    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.yaml").write_text("train: [1]\ngenerator: {name: '[/b]'}\n")
    huge = {f'{{"step": {step}, "x": {x}}}\n': 0 for step, x in (("Infinity", 1), ("1.5", 1), ("9" * 400, 1), (1, "9" * 400))}
    odd = {'{"step": 1, "x": 2}\n[1]\n{"step": 2}\n': 2, '{"step": "<b>"}\n': 0, '{"step": 1, "x": [2]}\n': 0, **huge}
    for text, known in odd.items():
        (run / "metrics.jsonl").write_text(text)
        assert len(read_metrics(run / "metrics.jsonl")) == known
        assert summary(run)["generator"] == "[/b]"
    (run / "metrics.jsonl").write_bytes(b"\x80\x04")
    assert read_metrics(run / "metrics.jsonl") == []
    lines = [b'{"step": 1, "x": NaN}', b"\xff mine", b'{"step": 2}', b"[" * 9000, b'{"step": 3}', b'{"step": 3, "x"']
    (run / "metrics.jsonl").write_bytes(b"\n".join(lines))
    keep_until(run / "metrics.jsonl", 2)  # only what is written again, and what was cut off, goes
    assert (run / "metrics.jsonl").read_bytes() == b"\n".join([*lines[:4], b""])
    figure = {"name": "kid", "value": 1, "better": "lower", "spread": None, "images": {}}
    (run / "best").mkdir()
    for protocol in ({}, {"direction": ["a"]}):
        best = {"keep_best": "kid", "value": 1, "step": 3, "figures": [{**figure, "protocol": protocol}]}
        (run / "best" / "best.json").write_text(json.dumps(best))
        assert kept(run) is None
    (tmp_path / "piped").mkdir()
    os.mkfifo(tmp_path / "piped" / "recipe.yaml")
    runs(tmp_path)


def test_a_pipe_is_no_recipe_of_a_run(tmp_path: Path) -> None:
    """A resume would wait for it for ever."""
    from i2i.errors import UserError
    from i2i.training.run_folder import check_content

    os.mkfifo(tmp_path / "recipe.yaml")
    with pytest.raises(UserError, match="holds no run to resume"):
        check_content(tmp_path, resume=True)
