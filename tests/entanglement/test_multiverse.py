"""Every universe against the plain computation in pandas and scipy, from a run's own tables."""

import json
import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import entangle_lens as el
from entangle_lens import cli
from entangle_lens.directions import READOUTS
from entangle_lens.entanglement.evidence import gather_evidence
from entangle_lens.entanglement.multiverse import explore
from entangle_lens.entanglement.universes import CHOICES, POSITIONS


@pytest.fixture(scope="module")
def found(run_folder):
    return el.multiverse(run_folder)


@pytest.fixture(scope="module")
def tables(run_folder):
    names = ("items", "ratings", "projections", "readouts")
    return {name: pd.read_parquet(run_folder / f"tables/{name}.parquet") for name in names}


def z_scores(x):
    return (x - x.mean()) / x.std(ddof=0)


def of_prompts(rows, universe):
    """Keep a universe's prompts and scale the scores of each of them, in pandas."""
    if universe.prompts.startswith("paraphrase "):
        rows = rows[rows["paraphrase"] == universe.prompts.split()[1]]
    elif universe.prompts.endswith(" only"):
        rows = rows[rows["polarity"] == universe.prompts.split()[0]]
    by_prompt = rows.groupby(["value", "paraphrase", "polarity", "layer"])["score"]
    if universe.scaling == "z within prompt":
        rows = rows.assign(score=by_prompt.transform(z_scores))
    elif universe.scaling == "ranks within prompt":
        rows = rows.assign(score=by_prompt.rank())
    return rows


def scored(tables, universe):
    """Both scores of every item: ratings, or projections at the universe's place and layer."""
    if universe.measure == "behaviour":
        rows = tables["ratings"].assign(layer=0).rename(columns={"rating": "score"})
        rows = of_prompts(rows.query("pair == @universe.pair"), universe)
        return rows.pivot_table(index="item_id", columns="value", values="score")
    place = {said: name for name, said in POSITIONS.items()}[universe.position]
    readout = {said: name for name, said in READOUTS.items()}[universe.centring]
    rows, known = (
        each[(each["pair"] == universe.pair) & (each["position"] == place)]
        for each in (tables["projections"], tables["readouts"])
    )
    rows = of_prompts(rows.assign(score=rows[readout]), universe)
    wide = rows.pivot_table(index="item_id", columns=["layer", "value"], values="score")
    if np.isfinite(universe.layer):
        return wide[int(universe.layer)]
    valid = known.loc[(known["readout"] == readout) & (known["auc"] >= 0.8), "layer"]
    assert len(valid) > 1
    return sum(z_scores(wide[layer]) for layer in valid)


def plainly(tables, universe):
    """One universe, written out."""
    items = tables["items"].query("pair == @universe.pair").set_index("item_id")
    means = scored(tables, universe).loc[items.index].copy()
    means["z"] = items["text"].str.len() if universe.covariate == "characters" else items["level"]
    if universe.unit == "scenario means":
        means = means.groupby(items["scenario_id"], sort=False).mean()
    secondary = next(name for name in means if name not in ("moral", "z"))
    x, y, z = means["moral"], means[secondary], means["z"]
    if universe.method == "Spearman":
        x, y, z = x.rank(), y.rank(), z.rank()
    if universe.covariate == "none":
        return stats.pearsonr(x, y).statistic
    left = [each - np.polyval(np.polyfit(z, each, 1), z) for each in (x, y)]
    return stats.pearsonr(*left).statistic


@pytest.mark.parametrize("measure", ["behaviour", "residual"])
def test_universes_are_those_of_pandas_and_scipy(found, tables, measure):
    universes = found.table().query("measure == @measure")
    sample = universes.sample(40, random_state=0)
    assert {"none", "characters"} < set(sample["covariate"])
    assert sample["method"].nunique() == sample["unit"].nunique() == 2
    if measure == "residual":
        assert sample["position"].nunique() == 3
        assert sample["centring"].nunique() == 5
        assert sample["layer"].isna().any()
    for universe in sample.itertuples():
        assert universe.r == pytest.approx(plainly(tables, universe), abs=1e-8)
    assert universes["r"].std() > 0.05


def test_position_and_centring_change_what_is_correlated(found):
    """The control: no choice is a copy of another under a second name."""
    default = {"prompts": "all prompts", "scaling": "raw", "unit": "items", "covariate": "none"}
    table = found.table().query("pair == 'moral_grammar' and method == 'Pearson' and not circular")
    table = table[np.logical_and.reduce([table[name] == value for name, value in default.items()])]
    r = table.query("measure == 'residual' and layer == layer").groupby("layer")["r"]
    assert (r.nunique() == r.size()).all()
    assert r.size().max() > 5


def test_nothing_counts_where_the_directions_do_not_read_their_values(found, tables):
    """A readout below AUC .8 at a layer is no universe there, and a note says which are gone."""
    counted = found.table().query("measure == 'residual' and not circular and layer == layer")
    auc = tables["readouts"].assign(
        position=tables["readouts"]["position"].map(POSITIONS),
        centring=tables["readouts"]["readout"].map(READOUTS),
    )
    keys = ["pair", "position", "centring", "layer"]
    held = counted[keys].drop_duplicates().merge(auc, on=keys)
    assert len(held) == len(counted[keys].drop_duplicates())
    assert held["auc"].min() >= 0.8
    best = auc.groupby(["pair", "position", "centring"])["auc"].max()
    lost = best[best < 0.8].index
    assert len(lost) > 0
    for pair, position, centring in lost:
        rows = found.table().query("pair == @pair and position == @position")
        assert centring not in set(rows["centring"])
        said = [note for note in found.findings.notes if pair in note and position in note]
        assert any(centring in note or "any centring" in note for note in said)


def test_covariates_are_lengths_design_and_what_the_stimuli_bring(run_folder, tables):
    """One that says no more than another is no universe of its own, and a note says so."""
    frequency = np.random.default_rng(0).normal(size=len(tables["items"]))
    items = tables["items"].assign(
        covariate_log_frequency=frequency, covariate_again=3 - 2 * frequency
    )
    found = explore(gather_evidence(tables | {"items": items}), n_resamples=0, n_permutations=20)
    table = found.universes.query("pair == 'moral_grammar' and measure == 'behaviour'")
    expected = {"none", "characters", "grammar level", "log frequency"}
    assert set(table.query("unit == 'items'")["covariate"]) == expected
    assert any("again" in note and "says no more" in note for note in found.notes)
    universe = table.query("covariate == 'log frequency' and unit == 'items'").iloc[0]
    own = items.query("pair == 'moral_grammar'").set_index("item_id")
    means = scored(tables, universe).loc[own.index]
    z = own["covariate_log_frequency"]
    left = [each - np.polyval(np.polyfit(z, each, 1), z) for _, each in means.items()]
    assert universe["r"] == pytest.approx(stats.pearsonr(*left).statistic, abs=1e-9)


def test_a_study_has_the_multiverse_of_its_folder(found, entangled_study, monkeypatch):
    fewer = partial(explore, n_resamples=0, n_permutations=20)
    monkeypatch.setattr("entangle_lens.results.study.explore", fewer)
    drawn = ["low", "high", "p"]
    own, kept = (each.table().drop(columns=drawn) for each in (entangled_study.multiverse(), found))
    pd.testing.assert_frame_equal(own, kept)


def test_a_run_that_could_not_tell_the_items_tokens_says_so(tables):
    only_last = {
        name: each[each["position"] == "last"] if "position" in each else each
        for name, each in tables.items()
    }
    found = explore(gather_evidence(only_last), n_resamples=0, n_permutations=20)
    assert any("could not tell the item's tokens" in note for note in found.notes)
    positions = found.universes.query("measure == 'residual'")["position"]
    assert set(positions) == {"last prompt token"}
    assert found.universes.query("default")["r"].notna().all()
    assert len(found.universes.query("default")) == 4


def test_default_universe_is_the_headline_of_the_run(found, run_folder):
    summary = json.loads((run_folder / "summary.json").read_text())
    for measure in ("behaviour", "residual"):
        for curve in found.findings.curves:
            if curve.measure == measure:
                assert curve.default_r == pytest.approx(summary[measure][curve.pair]["r"], abs=1e-9)
    default = found.table().query("default")
    assert len(default) == 4
    assert set(default["covariate"]) == {"none"}
    residual = default.query("measure == 'residual'")
    assert set(residual["position"]) == {"last prompt token"}
    assert set(residual["centring"]) == {"centred projection"}


def test_shares_and_ranks_count_the_universes(found):
    table = found.table().query("pair == 'moral_grammar' and measure == 'behaviour'")
    curve = next(
        each
        for each in found.findings.curves
        if (each.pair, each.measure) == ("moral_grammar", "behaviour")
    )
    assert curve.n_universes == len(table)
    assert curve.default_rank == 1 + (table["r"] < curve.default_r).sum()
    agree = np.sign(table["r"]) == np.sign(curve.default_r)
    assert curve.same_sign == pytest.approx(agree.mean())
    assert curve.significant == pytest.approx((agree & (table["p"] < 0.05)).mean())
    total = ((table["r"] - table["r"].mean()) ** 2).sum()
    means = table.groupby("unit")["r"].transform("mean")
    share = ((means - table["r"].mean()) ** 2).sum() / total
    assert curve.moves["unit"] == pytest.approx(share)
    assert share > 0.1


def test_picking_the_layer_by_its_r_is_shown_and_not_counted(found):
    table = found.table().query("measure == 'residual'")
    circular = table[table["circular"]]
    assert set(circular["layer_rule"]) == {"largest |r|"}
    others = table[~table["circular"] & (table["layer_rule"] != "mean over valid layers")]
    keys = ["pair", *CHOICES[1:]]
    assert circular.groupby(keys).size().max() == 1
    most = others.assign(size=others["r"].abs()).groupby(keys)["size"].max()
    picked = circular.set_index(keys)["r"].abs()
    assert (picked >= most.loc[picked.index] - 1e-12).all()
    counted = sum(each.n_universes for each in found.findings.curves if each.measure == "residual")
    assert counted == (~table["circular"] & table["r"].notna()).sum()


def test_estimates_do_not_depend_on_the_seed_and_intervals_do(found, tables):
    one, again, other = (
        explore(gather_evidence(tables), seed, n_resamples=30, n_permutations=30).universes
        for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(one, again)
    assert one["r"].equals(other["r"])
    assert one["r"].equals(found.table()["r"])
    assert not one["low"].equals(other["low"])


def test_nothing_leaks_where_nothing_was_planted(disentangled_study):
    evidence = gather_evidence(disentangled_study.tables())
    curves = explore(evidence, n_resamples=0, n_permutations=200).curves
    behaviour = [each for each in curves if each.measure == "behaviour"]
    assert all(abs(each.default_r) < 0.1 for each in behaviour)
    assert all(each.significant < 0.5 for each in behaviour)


def call(*args, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["entangle-lens", "multiverse", *map(str, args)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0, capsys.readouterr()


def test_command_writes_beside_the_run_and_changes_nothing_in_it(
    run_folder, tmp_path, monkeypatch, capsys
):
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    code, shown = call(run, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    assert "default r" in shown.out
    assert "moved most by" in shown.out
    assert (run / "multiverse/multiverse.html").stat().st_size > 1e5
    assert all(path.read_bytes() == content for path, content in before.items())
    code, shown = call(run, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2
    assert "holds another run" in shown.err


@pytest.mark.parametrize("wrong", ["missing", "empty", "table", "changed"])
def test_bad_folders_are_one_sentence(wrong, run_folder, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    if wrong == "empty":
        run.mkdir()
    elif wrong != "missing":
        shutil.copytree(run_folder, run)
    if wrong == "table":
        (run / "tables/ratings.parquet").unlink()
    if wrong == "changed":
        path = run / "tables/ratings.parquet"
        table = pd.read_parquet(path)
        table.assign(rating=table["rating"].sample(frac=1, random_state=0).to_numpy()).to_parquet(
            path
        )
    code, shown = call(run, monkeypatch=monkeypatch, capsys=capsys)
    said = {
        "missing": "no such folder",
        "empty": "no manifest.json",
        "table": "ratings",
        "changed": "changed after the run",
    }[wrong]
    assert code == 2
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert not (run / "multiverse").exists()
