"""Which stages there are: those of this package, and those that other packages bring.

A package offers a stage by an entry point of the group ``imagebind_llm.stages``, whose value is a
:class:`StageKind`. ``imagebind-llm train NAME recipe.yaml`` then runs it. A name may have the form
``PACKAGE.STAGE``: that is a known stage on the package's own data. ``train STAGE recipe.yaml`` runs it too,
when the recipe says ``stage: PACKAGE.STAGE``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.common.plugins import Plugins

if TYPE_CHECKING:
    from imagebind_llm.training.stage import Stage

GROUP = "imagebind_llm.stages"

STAGES = Plugins(
    GROUP,
    "stage",
    {
        "bind": "imagebind_llm.training.kinds:BIND",
        "heads": "imagebind_llm.training.kinds:HEADS",
        "pretrain": "imagebind_llm.training.kinds:PRETRAIN",
        "finetune": "imagebind_llm.training.kinds:FINETUNE",
    },
)


@dataclass(frozen=True)
class StageKind:
    """A stage that can be trained by its name.

    Attributes:
        recipe: frozen dataclass that the YAML recipe is read into, or where it is (``module:Class``), which
            keeps the list of stages quick. It has the fields ``run``
            (:class:`~imagebind_llm.training.settings.RunSettings`) and ``optimizer``
            (:class:`~imagebind_llm.training.settings.OptimizerSettings`), and belongs to this stage only.
        make: opens models and data, and returns the stage. Heavy imports belong into it.
        summary: one line for the list of stages.
        help: the sentence that its own help starts with; the summary if empty.
        examples: lines shown below its help.
    """

    recipe: type[Any] | str
    make: Callable[[Any], "Stage"]
    summary: str
    help: str = ""
    examples: str = ""

    @property
    def recipe_class(self) -> type[Any]:
        """The class behind :attr:`recipe`.

        Raises:
            UserError: it cannot be imported.
        """
        if not isinstance(self.recipe, str):
            return self.recipe
        try:
            found: type[Any] = resolve_name(self.recipe)
        except (ImportError, AttributeError) as error:
            raise UserError(
                f"the recipe {self.recipe} cannot be imported ({error}); install its package again"
            ) from error
        return found


def stage_kind(name: str) -> StageKind:
    """The stage called ``name``.

    Raises:
        UserError: there is none, or its package cannot be imported.
    """
    found = STAGES.load(name)
    if not isinstance(found, StageKind):
        raise ConfigError(
            f"stage {name!r} is of type {type(found).__name__}; its package must offer a StageKind"
        )
    return found


def make_stage(recipe: Any) -> "Stage":
    """The stage that ``recipe`` belongs to, ready for the loop.

    Raises:
        ConfigError: no stage has recipes of this class.
    """
    for name in STAGES.names():
        try:
            kind = stage_kind(name)
            found = kind.recipe_class
        except UserError:  # a broken package of somebody else's; whoever names its stage is told
            continue
        if found is type(recipe):
            return kind.make(recipe)
    raise ConfigError(f"no stage has recipes of the class {type(recipe).__name__}; give that of a StageKind")


def is_for(command: str, stage: str) -> bool:
    """Whether ``train COMMAND`` runs recipes of ``stage``."""
    return stage == command or stage.rpartition(".")[2] == command
