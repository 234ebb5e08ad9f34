"""RESULTS.md and its figures, made from the committed rows and from nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median, stdev

from benchmarks.publishing import ROOT, figure, markdown, over_seeds, save_figure
from benchmarks.replication import agenda, costs, in_words, ledger, search
from benchmarks.replication.arms import ARMS, Claim
from benchmarks.replication.beds import BEDS, Bed
from benchmarks.replication.costs import Cost
from benchmarks.replication.in_words import Judged
from benchmarks.replication.inference import LEVEL, detectable
from benchmarks.replication.ledger import Row, Trial
from benchmarks.replication.trials import by_trial
from benchmarks.replication.verdicts import MARGIN, Budget, Finals, Verdict, judged, verdicts

DOCS = ROOT / "docs"

HEAD = f"""# A replication of GPG at the scale of one core

Made by `python -m benchmarks.replication report` from the rows in `*.jsonl`, one for each run; not
edited by hand. The models are tiny, the data drawn: no number here is one of a published benchmark.
What the beds are, what was tried before them, and what the columns mean: `docs/replication.md`.

Verdicts are of one-sided paired t-tests over common seeds, corrected over all claims of a table by
Holm's method at 5 %. "a < b" agrees if b is surely above a, and does not if b is surely less than
{100 * MARGIN:g} points above; "a <= b" agrees if b is surely less than {100 * MARGIN:g} points
below a, and does not if b is surely below. All else is "cannot tell", and so is what holds by some
measurements of an arm's time and not by others. Scores are greedy, strict, in
percent, on held-out questions.
"""

BUDGETS: Mapping[Budget, str] = {
    "sampling": "equal sampling: the same completions; of groups of other sizes the same prompts",
    "compute": "equal compute: where the cheaper arm's processor time had been spent",
}


def publish() -> Path:
    """Write RESULTS.md, the figures and the tables of docs/replication.md, and return the first."""
    sections, on_beds = [HEAD], {}
    for bed in BEDS.values():
        all_rows = ledger.read(bed.name)
        if not all_rows:
            sections.append(f"## {bed.name}\n\nNo runs yet.\n")
            continue
        rows = by_trial(bed, all_rows)
        finals = finals_of(bed, rows)
        draw(bed, finals, ledger.HERE)
        both: Judged = {
            "sampling": verdicts(finals, claims=bed.claims),
            "compute": verdicts(finals, costs.measured(bed, finals), bed.claims),
        }
        on_beds[bed.name] = bed, both
        sections.append(section(bed, rows, both, len(all_rows) - len(rows)))
    in_words.publish(DOCS / "replication.md", on_beds)
    # The site of the documentation shows pictures of its own folder only.
    for drawn in sorted(ledger.HERE.glob("*.svg")):
        shutil.copy(drawn, DOCS / f"replication-{drawn.name}")
    path = ledger.HERE / "RESULTS.md"
    path.write_text("\n".join(sections), encoding="utf-8")
    return path


def section(bed: Bed, rows: Mapping[Trial, Row], both: Judged, orphans: int) -> str:
    """Render a bed's section; ``orphans`` are rows of what it was before, which do not count."""
    paid = [cost for cost in costs.read() if cost.bed == bed.name]
    parts = [f"## {bed.name}", card(bed, rows), "### Rates", search_table(bed, rows)]
    parts += ["### Arms", arms_table(bed, rows)]
    for budget, title in BUDGETS.items():
        on_claims = both[budget]
        parts += [f"### Claims, at {title}", claims_table(on_claims), summary(on_claims)]
    parts.append(decided(both))
    parts += [f"![{bed.name}]({bed.name}.svg)", provenance([*rows.values(), *paid])]
    if orphans:
        parts.append(f"{orphans} rows are of another start or other settings and left out.")
    return "\n\n".join(parts) + "\n"


def finals_on(bed: Bed) -> Finals:
    """Return the final rows of a bed that began with the start that it has now."""
    return finals_of(bed, by_trial(bed, ledger.read(bed.name)))


def finals_of(bed: Bed, rows: Mapping[Trial, Row]) -> Finals:
    """Return the final rows by arm, in the order of the arms, each in the order of its seeds.

    Those at a rate that the arm's search has left behind do not count.
    """
    of_arm: dict[str, list[Row]] = {name: [] for name in ARMS}
    chosen = {arm: chosen_rate(bed, arm, rows) for arm in ARMS}
    for trial in sorted(rows, key=lambda trial: trial.seed):
        if trial.stage == "final" and chosen[trial.arm] in (None, trial.rate):
            of_arm[trial.arm].append(rows[trial])
    return {name: found for name, found in of_arm.items() if found}


def chosen_rate(bed: Bed, arm: str, rows: Mapping[Trial, Row]) -> float | None:
    """Return the rate that an arm's search has chosen; None before it has."""
    try:
        return agenda.rate_of(bed, arm, rows)
    except search.Unfinished:
        return None


def card(bed: Bed, rows: Mapping[Trial, Row]) -> str:
    """Render the bed's card: start, ceiling, gain, whether it still rises, spread and power."""
    finals = finals_of(bed, rows)
    final = finals.get(agenda.CARD_ARM, ())
    top = rows.get(agenda.ceiling(bed))
    first = [row.curve[0][1] for row in (top, *final) if row is not None]
    lines = [("start", percent(first[0]) if first else "not run yet")]
    steps = f"{bed.ceiling_steps} steps of fine-tuning on"
    lines.append((f"ceiling, {steps}", percent(top.score) if top else "not run yet"))
    if len(final) > 1:
        scores = [row.score for row in final[: agenda.CARD_SEEDS]]
        last = [row.score - row.curve[-2][1] for row in final]
        lines += [
            (f"gpg, {bed.steps} steps, {len(scores)} seeds", percent(fmean(scores))),
            ("gain", f"{100 * (fmean(scores) - final[0].curve[0][1]):+.1f}"),
            (f"gain of the last {final[0].curve[-1][0] - final[0].curve[-2][0]} steps",
             f"{100 * fmean(last):+.1f}"),
            *((f"standard deviation over {count} seeds",
               percent(stdev(row.score for row in final[:count])))
              for count in sorted({len(scores), len(final)})),
            ("processor seconds of a run", seconds_of(agenda.CARD_ARM, bed, finals)),
        ]  # fmt: skip
    spreads = sorted(paired_deviations(finals, bed.claims))
    tested = sum(verdict.test is not None for verdict in verdicts(finals, claims=bed.claims))
    if spreads:
        seeds, claims = max(claim.seeds for claim in bed.claims), max(1, tested)
        lines += [
            (
                f"difference that {seeds} seeds see with 80 %, {which}",
                f"{percent(detectable(spread, seeds, level))} points",
            )
            for which, spread, level in (
                ("of the median claim alone", median(spreads), LEVEL),
                (f"of the median claim among {claims}", median(spreads), LEVEL / claims),
                (f"of the widest claim among {claims}", spreads[-1], LEVEL / claims),
            )
        ]
    return markdown(("the bed's card", ""), lines)


def paired_deviations(finals: Finals, claims: Sequence[Claim]) -> list[float]:
    """Return the standard deviations of paired differences, of each claim that has runs.

    Before any has, it is that of two independent runs of the card's arm; [] without these.
    """
    deviations = []
    of_arms = [claim for claim in claims if claim.worse in finals]  # not those about the start
    for verdict in verdicts(finals, claims=of_arms):
        if verdict.test is not None:
            pairs = [
                {row.trial.seed: row.score for row in finals[arm]}
                for arm in (verdict.claim.worse, verdict.claim.better)
            ]
            common = pairs[0].keys() & pairs[1].keys()
            deviations.append(stdev(pairs[1][seed] - pairs[0][seed] for seed in common))
    alone = finals.get(agenda.CARD_ARM, ())
    if not deviations and len(alone) > 1:
        deviations = [2**0.5 * stdev(row.score for row in alone)]
    return deviations


def arms_table(bed: Bed, rows: Mapping[Trial, Row]) -> str:
    """Render a line for every arm with final runs."""
    lines, finals = [], finals_of(bed, rows)
    for name, final in finals.items():
        mean = over_seeds([row.score for row in final])
        lines.append(
            (
                f"`{name}`",
                f"{final[0].trial.rate:g}{'' if inside(bed, name, rows) else '*'}",
                mean.n,
                percent(mean.mean),
                f"{percent(mean.low)} to {percent(mean.high)}" if mean.n > 1 else "",
                f"{fmean(row.completions for row in final) / 1000:.1f}",
                seconds_of(name, bed, finals),
            )
        )
    header = ("arm", "rate", "seeds", "score", "95 %", "thousand completions", "CPU seconds")
    if not lines:
        return "No final run yet."
    table = markdown(header, lines)
    if any("*" in line[1] for line in lines):
        return f"{table}\n\n*: the rate lies at the edge of those tried."
    return table


def seconds_of(arm: str, bed: Bed, finals: Finals) -> str:
    """Return the processor seconds of an arm's runs by themselves, with their range."""
    by_commit = costs.measured(bed, finals)[arm]
    seconds = [value for values in by_commit.values() for value in values]
    if not seconds:
        return "not measured"
    return f"{median(seconds):.0f} ({min(seconds):.0f} to {max(seconds):.0f})"


def search_table(bed: Bed, rows: Mapping[Trial, Row]) -> str:
    """Render the scores of every search on "val" by rate: after a third of the steps, and all."""
    searched = {(t.arm, t.rate, t.steps): row.score for t, row in rows.items() if is_search(t)}
    lines = [
        (
            f"`{arm}`",
            f"{rate:g}",
            *(
                percent(searched[arm, rate, steps]) if (arm, rate, steps) in searched else ""
                for steps in (bed.steps // 3, bed.steps)
            ),
        )
        for arm in ARMS
        for rate in sorted({trial.rate for trial in rows if is_search(trial) and trial.arm == arm})
    ]
    if not lines:
        return "No rate has been tried yet."
    return markdown(("arm", "rate", f"{bed.steps // 3} steps", f"{bed.steps} steps"), lines)


def is_search(trial: Trial) -> bool:
    """Check whether a trial belongs to the search of a rate."""
    return trial.stage == "search"


def inside(bed: Bed, arm: str, rows: Mapping[Trial, Row]) -> bool:
    """Check whether an arm's rate has tried neighbours on both sides."""
    rate = chosen_rate(bed, arm, rows)
    if rate is None:
        return False
    tried = {trial.rate for trial in rows if trial.stage == "search" and trial.arm == arm}
    return min(tried) < rate < max(tried)


def claims_table(on_claims: Sequence[Verdict]) -> str:
    """Render a line for every claim with runs: its difference, corrected p-values, verdict.

    Where the budget was measured several times, the differences by its range stand beside it.
    """
    header = ["claim", "from", "points", "95 %", "seeds", "p true", "p false", "verdict"]
    ranged = any(len(verdict.tests) > 1 for verdict in on_claims)
    lines = []
    for verdict in on_claims:
        if (test := verdict.test) is None:
            continue
        line = [
            f"`{verdict.claim.text}`",
            verdict.claim.source,
            f"{100 * test.mean:+.1f}",
            f"{100 * test.low:+.1f} to {100 * test.high:+.1f}",
            str(test.n),
            f"{verdict.above:.3f}",
            f"{verdict.below:.3f}",
            f"**{verdict.word}**",
        ]
        lines.append([*line[:4], over_range(verdict), *line[4:]] if ranged else line)
    if not lines:
        return "No claim has runs yet."
    return markdown(
        [*header[:4], "by the range of times", *header[4:]] if ranged else header, lines
    )


def over_range(verdict: Verdict) -> str:
    """Return the least and the largest difference of a claim by what was measured of a budget."""
    means = [100 * test.mean for test in verdict.tests]
    return f"{min(means):+.1f} to {max(means):+.1f}" if len(means) > 1 else ""


def summary(on_claims: Sequence[Verdict]) -> str:
    """Say in one sentence how many claims are decided."""
    counts = {word: sum(verdict.word == word for verdict in on_claims)
              for word in ("agrees", "does not agree", "cannot tell")}  # fmt: skip
    text = (
        f"Of {len(on_claims)} claims {counts['agrees']} agree, {counts['does not agree']} do not, "
        f"{counts['cannot tell']} cannot be told."
    )
    missing = [f"`{verdict.claim.text}`" for verdict in on_claims if verdict.test is None]
    return text + (f" Of these {len(missing)} have no test yet: {', '.join(missing)}."
                   if missing else "")  # fmt: skip


def decided(both: Judged) -> str:
    """Say how many claims are decided at one budget at least, corrected over both together."""
    count = len(both["sampling"])
    every = [verdict for each in both.values() for verdict in each]
    together = judged([(verdict.claim, verdict.tests) for verdict in every])
    told = sum(
        any(verdict.word != "cannot tell" for verdict in pair)
        for pair in zip(together[:count], together[count:], strict=True)
    )
    return (
        "Corrected over both tables together, at one budget or the other "
        f"{told} of {count} claims are decided."
    )


def draw(bed: Bed, finals: Finals, folder: Path) -> None:
    """Draw the score of every arm over the steps, the mean over its seeds."""
    drawing = figure(7, 4)
    axis = drawing.subplots()
    for number, (name, rows) in enumerate(finals.items()):
        steps = [step for step, _ in rows[0].curve]
        means = [100 * fmean(row.curve[point][1] for row in rows) for point in range(len(steps))]
        axis.plot(steps, means, f"C{number % 10}", linestyle=("-", "--")[number // 10], label=name)
    axis.set(xlabel="steps", ylabel="greedy accuracy on held-out questions (%)", title=bed.name)
    if finals:
        drawing.legend(loc="outside right upper", frameon=False, fontsize="small")
    save_figure(drawing, folder, bed.name)


def provenance(rows: Sequence[Row | Cost]) -> str:
    """Render the commits, versions and machines that rows and costs are from."""
    names = ("vrft", "torch", "transformers", "platform")
    origins = {(row.commit, *(row.versions[name] for name in names)) for row in rows}
    return markdown(("commit", *names), sorted(origins))


def percent(share: float) -> str:
    """Return a share in percent, with one decimal."""
    return f"{100 * share:.1f}"
