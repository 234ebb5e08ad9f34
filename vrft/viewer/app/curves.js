"use strict";

// The curves of all runs over each other, their warnings, their settings side by side, and what
// changed where they were resumed.

vrft.PALETTE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8b949e"];

// The charts in the order in which they are read; a name that ends with "/" stands for all below.
vrft.FIRST = ["reward", "rewards/", "eval_", "groups with signal", "completions/mean_length",
  "completions/clipped_ratio", "entropy", "surprisal", "sampling/", "grad_norm", "loss",
  "learning_rate"];

// Return the metrics of a run, with the share of groups that teach something, as it is read: of
// those whose rewards differ, unless the baseline compares them with more than each other.
vrft.withSignal = (metrics) => {
  const without = metrics.frac_without_signal || metrics.frac_reward_zero_std;
  return without ? { ...metrics, "groups with signal": without.map((share) =>
    (typeof share === "number" ? 1 - share : null)) } : metrics;
};

vrft.curvesPage = async (view, place, main) => {
  const runs = vrft.catalogue.views.filter((other) => other.kind === "run");
  const shown = view.shown ||= { smoothing: "0", band: true, search: "" };
  const load = async (fresh) => {
    for (const run of runs) {
      const [metrics, warnings, changes] = await Promise.all(
        ["metrics", "warnings", "changes"].map((name) => vrft.load(`${run.id}/${name}`, fresh)));
      Object.assign(run, { metrics: vrft.withSignal(metrics), warnings, changes });
    }
  };
  const charts = vrft.el("div", { class: "charts" });
  const notes = vrft.el("div", { class: "warnings" });
  const legend = vrft.el("div", { class: "legend" });
  const draw = () => {
    const arms = [...new Set(runs.map((run) => (shown.band ? run.arm : run.id)))];
    const colour = (arm) => vrft.PALETTE[arms.indexOf(arm) % vrft.PALETTE.length];
    const members = (arm) => runs.filter((run) => (shown.band ? run.arm : run.id) === arm);
    legend.replaceChildren(...arms.map((arm) => {
      const names = members(arm).map((run) => run.title).join(", ");
      const swatch = vrft.el("span", { class: "swatch" });
      swatch.style.background = colour(arm);
      const seeds = members(arm).length > 1 ? ` (${members(arm).length} seeds: mean and range)` : "";
      return vrft.el("span", {}, swatch, ` ${names}${seeds}  `);
    }));
    const events = runs.flatMap((run) => [
      ...run.warnings.map((row) => ({
        kind: "warning", step: row.step, text: `${run.title}, step ${row.step}: ${row.text}`,
      })),
      ...run.changes.map((row) => ({
        kind: "change", step: row.step, text: `${run.title}, resumed at step ${row.step}: `
          + (row.lines.join("; ") || "nothing changed"),
      })),
    ]);
    const said = (kind, heading) => {
      const those = events.filter((event) => event.kind === kind);
      return those.length ? vrft.el("section", { class: kind }, vrft.el("h2", {}, heading),
        vrft.el("ul", {}, those.map((event) => vrft.el("li", {}, event.text)))) : null;
    };
    vrft.fill(notes, said("warning", "▼ Warnings"), said("change", "■ Changes"));
    const names = [...new Set(runs.flatMap((run) => Object.keys(run.metrics)))]
      .filter((name) => name !== "step" && name !== "time" && name.includes(shown.search.trim()));
    const rank = (name) => {
      // Times, counters and spreads are looked up; what is learnt is looked at.
      if (/seconds|_time$|runtime|over_budget|missing$|\/std$|frac_reward_zero_std|frac_without_signal/.test(name)) return 99;
      const k = vrft.FIRST.findIndex((first) => name === first
        || (/[/_]$/.test(first) && name.startsWith(first)));
      return k < 0 ? vrft.FIRST.length : k;
    };
    names.sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
    charts.replaceChildren(...names.map((name) => vrft.chart(name, arms.map((arm) => {
      const series = members(arm).filter((run) => run.metrics[name]).map((run) => ({
        steps: run.metrics.step, values: vrft.smooth(run.metrics[name], Number(shown.smoothing)),
      }));
      const merged = series.length > 1 ? vrft.merge(series) : series[0];
      return merged && { name: members(arm)[0].title, colour: colour(arm), ...merged };
    }).filter(Boolean), events)));
  };
  const set = (name) => (value) => { shown[name] = value; draw(); };
  await load(vrft.catalogue.live);
  if (vrft.view !== view) return;  // another was opened meanwhile
  main.replaceChildren(vrft.el("div", { class: "wide" },
    vrft.el("div", { class: "controls", id: "filters" },
      vrft.el("input", {
        type: "search", id: "search", placeholder: "Metrics  ( / )", "aria-label": "Metrics",
        value: shown.search, oninput: (event) => set("search")(event.target.value),
      }),
      vrft.select("Smoothing", [["0", "none"], ["0.6", "some"], ["0.9", "much"], ["0.98", "most"]],
        shown.smoothing, set("smoothing")),
      vrft.checkbox("seeds as one band", shown.band, set("band"))),
    legend, notes, charts, vrft.settingsTable(runs)));
  draw();
  vrft.page = { show: () => null, refresh: async () => { await load(true); draw(); } };
};

// Return the settings of all runs; those that differ come first.
vrft.settingsTable = (runs) => {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.settings)))];
  const text = (run, name) => JSON.stringify(run.settings[name] ?? null);
  const differs = (name) => runs.some((run) => text(run, name) !== text(runs[0], name));
  names.sort((a, b) => differs(b) - differs(a));
  const open = runs.length > 1 && names.some(differs);
  return vrft.el("details", { class: "settings", open },
    vrft.el("summary", {}, "Settings"),
    vrft.el("div", { class: "scroll" }, vrft.el("table", { class: "facts" },
      vrft.el("tr", {}, vrft.el("th", { scope: "col" }, ""),
        runs.map((run) => vrft.el("th", { scope: "col" }, run.title))),
      names.map((name) => vrft.el("tr", { class: differs(name) ? "differs" : "" },
        vrft.el("th", { scope: "row" }, name), runs.map((run) => vrft.el("td", {}, text(run, name))))))));
};
