"""RESULTS.md and its pictures, made from the results that are kept and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from benchmarks.paper import demo_tasks, figure3
from benchmarks.paper.study import Study
from benchmarks.paper.tables import STUDIES
from benchmarks.paper.trials import HERE, Result, by_arm, read_results
from benchmarks.publishing import figure, markdown, over_seeds, save_figure
from vrft.types import Interval

HEAD = """# Results at the scale of one CPU

Made by `python -m benchmarks.paper report` from `results/*.json`, which the other commands of
`python -m benchmarks.paper` write; not edited by hand. The models are the tiny embedded ones, the
data the drawn demo sets: no number here is one of a published benchmark. Where all arms of a table
end near the ceiling it cannot tell methods apart, and most of these tasks are as easy as that: the
untrained models have a habit that is mended in few steps, whatever the method.
"""

HEADER = ("arm", "learning rate", "seeds", "untrained", "trained", "95 %", "epochs", "kilotokens")


def publish(folder: Path = HERE) -> Path:
    """Write RESULTS.md and its pictures into ``folder``, and return the page's path."""
    demos = list(read_results(demo_tasks.NAME).values())
    sections = [HEAD, demo_tasks.section(demos)]
    results = list(demos)
    studies = [study for table in STUDIES.values() for study in table]
    # a task's results stand in one file, whatever tables show them
    for task in dict.fromkeys(study.plan.task for study in studies):
        results += read_results(task).values()
    for study in studies:
        # a table without any result has no section
        if shown := study.select(list(read_results(study.plan.task).values())):
            draw_study(study, shown, folder)
            sections.append(study_section(study, shown))
    if curves := figure3.read_curves():
        figure3.draw(curves, folder)
        sections.append(figure3.SECTION)
    path = folder / "RESULTS.md"
    path.write_text("\n".join([*sections, provenance(results)]), encoding="utf-8")
    return path


def study_section(study: Study, results: Sequence[Result]) -> str:
    """Render a study's section of RESULTS.md; ``results`` are those of its own arms."""
    factors = ", ".join(f"x{factor:g}" for factor in study.plan.grid)
    search = (
        f"{study.plan.steps} steps on `{study.plan.config}`; learning rates tried on other "
        f"questions with another seed: {factors} of the demo's (*: at the edge of these)."
    )
    picture = f"![{study.title}]({study.name}.svg)"
    scores = study_table(study, results)
    parts = [f"## {study.title}", study.text, search, scores, verdicts(study, results), picture]
    return "\n\n".join(part for part in parts if part) + "\n"


def study_table(study: Study, results: Sequence[Result]) -> str:
    """Render a line for every arm: held-out scores in percent, means over seeds."""
    grid, demo_rate = study.plan.grid, study.plan.learning_rate
    lines = []
    for arm, results_of_arm in by_arm(results).items():
        after = over_seeds([result.after for result in results_of_arm])
        first = results_of_arm[0]
        # the last setting is train.learning_rate=...
        factor = float(first.settings[-1].partition("=")[2]) / demo_rate
        at_edge = not min(grid) < factor < max(grid)
        lines.append(
            (
                f"`{arm}`",
                f"x{factor:g}{'*' if at_edge else ''}",
                after.n,
                f"{100 * first.before:.1f}",
                f"{100 * after.mean:.1f}",
                f"{100 * after.low:.1f} to {100 * after.high:.1f}",
                f"{fmean(result.epochs for result in results_of_arm):.2f}",
                f"{fmean(result.tokens for result in results_of_arm) / 1000:.0f}",
            )
        )
    return markdown(HEADER, lines)


def verdicts(study: Study, results: Sequence[Result]) -> str:
    """Render a line for every claim, judged by the differences of runs with the same seed."""
    # The same seed draws the same prompts: paired, the luck of a draw cancels out.
    after = {(result.arm, result.seed): result.after for result in results}
    lines = []
    for claim in study.claims:
        seeds = sorted(seed for arm, seed in after if arm == claim.better)
        both = [seed for seed in seeds if (claim.worse, seed) in after]
        # one difference has no interval
        if len(both) < 2:
            continue
        gap = over_seeds([after[claim.better, s] - after[claim.worse, s] for s in both])
        lines.append(
            f"- Paper: `{claim.better}` above `{claim.worse}`. Here {100 * gap.mean:+.1f} points "
            f"({100 * gap.low:+.1f} to {100 * gap.high:+.1f}, {gap.n} seeds): {word(gap)}."
        )
    return "\n".join(lines)


def word(gap: Interval) -> str:
    """Say whether a difference agrees with the claim that it is above zero."""
    if gap.low > 0:
        return "agrees"
    return "does not agree" if gap.high < 0 else "cannot tell"


def draw_study(study: Study, results: Sequence[Result], folder: Path) -> list[Path]:
    """Draw every arm's held-out scores: each seed, the mean, and its 95 % interval."""
    arms = by_arm(results)
    drawing = figure(7, 1 + 0.32 * len(arms))
    axis = drawing.subplots()
    for height, results_of_arm in enumerate(arms.values()):
        scores = [100 * result.after for result in results_of_arm]
        mean = over_seeds(scores)
        axis.plot(scores, [height] * len(scores), "o", color="0.75", markersize=4)
        if mean.n > 1:
            axis.plot([mean.low, mean.high], [height, height], color="C0", linewidth=2)
        axis.plot(mean.mean, height, "D", color="C0", markersize=5)
    axis.axvline(100 * results[0].before, color="0.5", linestyle=":", label="untrained")
    axis.set_yticks(range(len(arms)), list(arms))
    # the first arm stands on top, as in the table
    axis.invert_yaxis()
    axis.set(xlabel=f"{results[0].metric} on held-out questions (%)", title=study.title)
    drawing.legend(loc="outside lower right", frameon=False)
    return save_figure(drawing, folder, study.name)


def provenance(results: Sequence[Result]) -> str:
    """Render the table of all commits, versions and machines that the results are from."""
    names = ("vrft", "torch", "transformers", "platform")
    # a set: most results are of few commits
    origins = {
        (result.commit, result.threads, *(result.versions[name] for name in names))
        for result in results
    }
    table = markdown(("commit", "threads", *names), sorted(origins))
    return f"## Where they are from\n\n{table}\n\n`-dirty`: with changed files, be it this one.\n"
