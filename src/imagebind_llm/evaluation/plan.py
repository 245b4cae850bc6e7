"""Many evaluations of one model, as a file lists them, and one table of what they found."""

import inspect
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from imagebind_llm.common.errors import ConfigError, UserError, one_line, short
from imagebind_llm.common.names import refuse_unknown
from imagebind_llm.common.settings import build
from imagebind_llm.common.text_files import read_text
from imagebind_llm.common.yaml_text import NotYaml, parse_yaml
from imagebind_llm.evaluation.engine import Engine
from imagebind_llm.evaluation.folder import write_outcome
from imagebind_llm.evaluation.report import shown, table
from imagebind_llm.evaluation.runner import run_suite
from imagebind_llm.evaluation.suite import Suite, suite_kind

_NAME = re.compile(r"\w[\w .-]{0,99}")
"""Of a run: letters, digits, ``_``, and behind the first ``-``, ``.`` and spaces."""


@dataclass(frozen=True)
class PlannedRun:
    """One evaluation.

    Attributes:
        suite: its name.
        data: its folder or file; relative ones begin at the folder that the plan is run with.
        name: of its folder in the results. Default: the suite's.
        what: said of it in the table. Default: the suite's summary.
        items: about how many; null: all.
        max_new_tokens: of every answer; null: the suite's and the model's.
        cache: move media towards cached pictures, or not; null: as the model does.
        show: metrics of the table besides the suite's main one.
        options: the suite's own (``modality: audio``).
    """

    suite: str
    data: str | None = None
    name: str | None = None
    what: str | None = None
    items: int | None = None
    max_new_tokens: int | None = None
    cache: bool | None = None
    show: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Name of its folder in the results."""
        return self.name or self.suite


@dataclass(frozen=True)
class Plan:
    """``runs``: what is measured, in this order."""

    runs: tuple[PlannedRun, ...]


def read_plan(path: Path) -> Plan:
    """Read a plan from YAML.

    Raises:
        UserError: it cannot be read, lists nothing, an unknown suite or setting, or two runs of one name.
    """
    try:
        values = parse_yaml(read_text(path))
    except OSError as error:
        raise UserError(f"cannot read the plan {str(path)!r} ({error.strerror})") from None
    except (ValueError, NotYaml) as error:
        raise UserError(f"the plan {str(path)!r} is not YAML: {one_line(error)}") from None
    plan = build(Plan, values, "plan")
    if not plan.runs:
        raise ConfigError(f"the plan {str(path)!r} lists no runs")
    names: set[str] = set()
    for run in plan.runs:
        if suite_kind(run.suite).make is None:
            raise ConfigError(f"suite {run.suite!r} has a command of its own and cannot be part of a plan")
        if run.folder in names:
            raise ConfigError(f"the plan has two runs called {run.folder!r}; give one a name")
        if not _NAME.fullmatch(run.folder) or run.folder == "summary.md":
            raise ConfigError(f"{short(run.folder)} is no name of a folder; give the run another name")
        for setting in ("items", "max_new_tokens"):
            value = getattr(run, setting)
            if value is not None and value < 1:
                raise ConfigError(f"{setting} of the run {run.folder!r} is {value}; expected at least 1")
        names.add(run.folder)
    return plan


def run_plan(
    plan: Plan,
    engine: Engine,
    data: Path,
    out: Path,
    command: str,
    *,
    about: Mapping[str, Any],
    environment: Mapping[str, Any],
    batch_size: int = 64,
    tell: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Run all that the plan lists; what was finished before is not asked again.

    Args:
        plan: of :func:`read_plan`.
        engine: who answers.
        data: where relative data begin.
        out: a folder for each run is made in it.
        command: for the record.
        about: facts of the model.
        environment: versions and machine.
        batch_size: items after which answers are written down.
        tell: is called with a line about each run that could not be made, and goes on.

    Returns:
        For each run its ``name``, ``what``, ``show`` and ``results``, or ``error`` instead of the last.
    """
    rows = []
    for run in plan.runs:
        row: dict[str, Any] = {
            "name": run.folder,
            "what": run.what or suite_kind(run.suite).summary,
            "show": list(run.show),
        }
        started = time.time()
        options = {"max_new_tokens": run.max_new_tokens, "cache": run.cache}
        try:
            outcome = run_suite(
                _made(run, data),
                engine,
                None if run.data is None else (data / run.data).resolve(),
                out=out / run.folder,
                limit=run.items,
                batch_size=batch_size,
                about=about,
                options={name: value for name, value in options.items() if value is not None},
                arguments=run.options,
                progress=True,
            )
        except UserError as error:
            tell(f"{run.folder}: {error}")
            rows.append({**row, "error": str(error)})
            continue
        outcome.results["environment"] = dict(environment)
        write_outcome(outcome, out / run.folder, command, started)
        rows.append({**row, "results": outcome.results})
    return rows


def _made(run: PlannedRun, data: Path) -> Suite:
    make = suite_kind(run.suite).make
    assert make is not None, "read_plan has looked"
    known = {} if inspect.isclass(make) else dict(inspect.signature(make, eval_str=True).parameters)
    if run.options and not known:
        raise ConfigError(f"{run.suite} has no options; the plan gives it {next(iter(run.options))!r}")
    refuse_unknown(run.options, list(known), what=f"option of {run.suite}")
    return make(
        **{name: _typed(name, value, known[name].annotation, data) for name, value in run.options.items()}
    )


def _typed(name: str, value: Any, annotation: Any, data: Path) -> Any:
    """An option's value, checked; paths begin where the data do."""
    kind = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    kinds = get_args(kind) or (kind,)
    if Path in kinds and isinstance(value, str):
        return data / value
    if type(value) not in kinds:
        wanted = " or ".join(one.__name__ for one in kinds if one is not type(None))
        raise ConfigError(f"the option {name!r} is {short(value)}; expected {wanted}")
    return value


def summary_table(rows: list[dict[str, Any]]) -> str:
    """The runs as a Markdown table: what, items, and their metrics with 95 % intervals."""
    lines: list[list[object]] = []
    for row in rows:
        if "error" in row:
            lines.append([row["name"], row["what"], "–", f"not run: {one_line(row['error'], 200)}"])
            continue
        results = row["results"]
        units = results["shown"]
        names = dict.fromkeys([results["main"], *row["show"]])
        cells = [
            f"{name} {shown(results['metrics'][name], units.get(name, 'share'))}"
            for name in names
            if name in results["metrics"]
        ]
        lines.append([row["name"], row["what"], results["n"], "; ".join(cells)])
    return table(["run", "what", "n", "found (95 % interval; shares in %)"], lines)
