"""Objects of other packages by entry points."""

import sys
from importlib.metadata import EntryPoint

import pytest

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.plugins import Plugins

GROUP = "imagebind_llm.tests"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("def (", "SyntaxError"),
        ("import no_such_module", "no_such_module"),
        ("", "has no attribute 'STAGE'"),
    ],
)
def test_a_module_that_fails_is_one_line_about_it(text, reason, tmp_path, monkeypatch):
    (tmp_path / "strangers_module.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "strangers_module", raising=False)
    found = Plugins(GROUP, "stage", {"mine": "strangers_module:STAGE"})
    with pytest.raises(UserError, match="the stage 'mine' cannot be imported") as refused:
        found.load("mine")
    assert reason in str(refused.value)
    monkeypatch.delitem(sys.modules, "strangers_module", raising=False)


def test_two_offers_of_a_name_are_refused(monkeypatch):
    other = EntryPoint("mine", "another:STAGE", GROUP)
    monkeypatch.setattr(
        "imagebind_llm.common.plugins.entry_points", lambda group, name=None: [other], raising=True
    )
    with pytest.raises(UserError, match="offered 2 times"):
        Plugins(GROUP, "stage", {"mine": "strangers_module:STAGE"}).load("mine")


def test_an_unknown_name_says_what_is_near():
    with pytest.raises(UserError, match=r"there is no stage 'mnie'; did you mean 'mine'\?"):
        Plugins(GROUP, "stage", {"mine": "json:dumps"}).load("mnie")
