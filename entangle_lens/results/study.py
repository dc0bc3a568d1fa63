"""A study of one model: ask, look, keep. The object behind ``el.study``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from entangle_lens.entanglement.askable import check_askable
from entangle_lens.entanglement.budget import fit_study
from entangle_lens.entanglement.design import BOTH, Design, Layers
from entangle_lens.entanglement.embedding import Embed
from entangle_lens.entanglement.evidence import gather_evidence
from entangle_lens.entanglement.multiverse import explore
from entangle_lens.entanglement.plan import StudyPlan, plan_study
from entangle_lens.entanglement.ratings import rate
from entangle_lens.entanglement.study import Directions, Findings, run_study
from entangle_lens.errors import EntangleError
from entangle_lens.models import Model, info
from entangle_lens.results.figures.study import all_figures
from entangle_lens.results.multiverse import Multiverse
from entangle_lens.results.reliability import reliability_table
from entangle_lens.results.run_folder import make_manifest, save_run
from entangle_lens.results.summary import summary_table, verdict_table
from entangle_lens.results.tables import all_tables
from entangle_lens.running import check_layers
from entangle_lens.stimuli import Scale, Stimuli, load_stimuli

DEFAULT_STIMULI = "goods"
_log = logging.getLogger(__name__)


class Study:
    """One model, one set of stimuli, one design; ``run`` does the work, the rest shows it.

    ``warnings`` says what to know of these stimuli and this model before anything is run.
    """

    def __init__(
        self,
        model: Model,
        stimuli: Stimuli,
        design: Design,
        embed: Embed | None = None,
        plan: StudyPlan | None = None,
    ) -> None:
        info(model)  # refuses what is not a loaded model
        if design.layers is not None:
            check_layers(model, design.layers)
        self.model = model
        self.stimuli = design.asked(stimuli)
        self.warnings = check_askable(model, self.stimuli)
        self.design = design
        self._embed = embed
        self._plan = plan
        self._findings: Findings | None = None

    def plan(self) -> StudyPlan:
        """Count what :meth:`run` will run at most, and estimate how long it takes."""
        if self._plan is None:
            self._plan = plan_study(self.model, self.stimuli, self.design)
        return self._plan

    def run(self, *, progress: bool = True) -> Study:
        """Measure, ablate and judge; returns the study itself. A second call does nothing."""
        if self._findings is None:
            for warning in self.warnings:
                _log.warning("%s", warning)
            self._findings = run_study(
                self.model,
                self.stimuli,
                self.design,
                embed=self._embed,
                plan=self.plan(),
                progress=progress,
            )
        return self

    @property
    def findings(self) -> Findings:
        """Everything that was found, as frozen values."""
        if self._findings is None:
            raise EntangleError("the study has not been run; call .run() first")
        return self._findings

    @property
    def directions(self) -> Directions:
        """The fitted directions: ``["moral"]``, or ``["moral", "grammar"]`` for a context."""
        return self.findings.directions

    def rate(self, texts: Sequence[str], value: str) -> pd.Series:
        """Rate texts on one value, with the model as it is: inside ``el.ablate`` it is ablated.

        Args:
            texts: sentences of your own, or items.
            value: what is asked for, such as ``"moral"`` or ``"grammar"``.

        Returns:
            The expected rating of each text, in points of the scale, over all ways of asking.

        Raises:
            EntangleError: a value that no question asks for, or no text.

        Example:
            ``study.rate(["I mended the fence.", "I broke the fence."], "moral")``
        """
        if isinstance(texts, str) or not len(texts):
            raise EntangleError(f"texts {texts!r} were given; a list of one or more was expected")
        questions = self.design.questions(self.stimuli, value)
        ratings, _ = rate(self.model, list(texts), questions, self.design.scale)
        return pd.Series(ratings.mean, index=pd.Index(texts, name="text"), name=value)

    def summary(self) -> pd.DataFrame:
        """Return one row per measure and pair: r, its interval, p, items and scenarios."""
        return summary_table(self.findings)

    def verdict(self) -> pd.DataFrame:
        """Return one row per pair: entangled or not, repaired or not, why, and at what cost."""
        return verdict_table(self.findings)

    def reliability(self) -> pd.DataFrame:
        """Return one row per pair and value: split-half reliability and shares of the variance.

        ``tables()["wordings"]`` holds the correlations under each way of asking, and
        ``findings.pairs[...].reliability.warnings`` says where they turn.
        """
        return reliability_table(self.findings)

    def multiverse(self) -> Multiverse:
        """Return the headline under every reasonable choice, as ``el.multiverse`` of a folder."""
        manifest = make_manifest(info(self.model), self.stimuli, self.design)
        return Multiverse(explore(gather_evidence(self.tables()), self.design.seed), manifest)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return every table by name."""
        return all_tables(self.findings)

    def figures(self) -> dict[str, go.Figure]:
        """Return every figure by name."""
        return all_figures(self.findings)

    def show(self) -> None:
        """Show all figures: in a notebook, below the cell.

        Plotly needs ``nbformat`` there, which ``pip install "entangle-lens[notebook]"`` brings.
        """
        for figure in self.figures().values():
            figure.show()

    def save(self, folder: str | Path) -> Path:
        """Write the run folder and return the path of its report."""
        return save_run(Path(folder), self.findings, info(self.model), self.stimuli, self.design)


def study(
    model: Model,
    stimuli: str | Path | Stimuli | None = None,
    *,
    scale: str | Scale = "1:9",
    seed: int = 0,
    quick: bool = False,
    layers: Layers | None = None,
    polarity: str = BOTH,
    budget: float | None = None,
    embed: Embed | None = None,
) -> Study:
    """Set up a study of value entanglement in ``model``.

    Args:
        model: from :func:`entangle_lens.load`, or any TransformerBridge with a tokenizer.
        stimuli: a bundled name, a folder, or loaded stimuli; by default those beside the model's
            weights, else ``goods``.
        scale: rating scale, ``LOW:HIGH``.
        seed: of every resample, permutation and random direction.
        quick: at most 150,000 tokens, whatever has to be left out for it; for trying things out.
        layers: ``all``, ``8``, ``4,8`` or ``4-12`` (12 included); or numbers.
        polarity: ``both`` (the default), or ``ascending`` or ``descending`` to ask with the scale
            running in one way only, for a model that ignores which end stands for what.
        budget: minutes that the study may take on this machine; wordings, layers, random
            directions and what else must be are left out until it fits, and ``plan()`` says which.
        embed: maps texts to vectors, for the measure in embeddings; by default the mean of the
            model's own token embeddings.

    Raises:
        EntangleError: a model that is not loaded, stimuli that cannot be read, or a setting that
            is out of range.
    """
    stimuli = stimuli_for(model, stimuli)
    design = Design.make(scale=scale, seed=seed, quick=quick, layers=layers, polarity=polarity)
    if not quick and budget is None:
        return Study(model, stimuli, design, embed)
    check_askable(model, design.asked(stimuli))
    fitted = fit_study(model, stimuli, design, budget)
    return Study(model, stimuli, fitted.design, embed, fitted.plan)


def stimuli_for(model: Model, given: str | Path | Stimuli | None) -> Stimuli:
    """Return the stimuli given, else those beside the model's weights, else ``goods``."""
    about = info(model)
    if isinstance(given, Stimuli):
        return given
    return load_stimuli(given if given is not None else about.stimuli or DEFAULT_STIMULI)
