"use strict";

// The answers of an evaluation: all of them in a list that is filtered, sorted and searched, and
// the one that was chosen beside it.

vrft.BINS = 20;

// Return the indices of the answers that pass the filter, sorted. `texts` is index -> lower-case
// text of the answer, as far as loaded.
vrft.sifted = (table, filter, texts) => {
  const scores = table.metrics[filter.metric];
  const words = filter.search.trim().toLowerCase();
  const [low, high] = filter.range;
  const order = [];
  for (let i = 0; i < table.id.length; i++) {
    if (filter.subset !== "" && table.subset[i] !== Number(filter.subset)) continue;
    if (filter.only !== "" && !table[filter.only][i]) continue;
    if (scores[i] < low || scores[i] > high) continue;
    if (words && !table.id[i].toLowerCase().includes(words)
        && !table.question[i].toLowerCase().includes(words)
        && !(texts.get(i) || "").includes(words)) continue;
    order.push(i);
  }
  const sign = filter.sort.startsWith("-") ? -1 : 1;
  const key = filter.sort.replace("-", "");
  const values = key === "order" ? null : key === "score" ? scores : table[key];
  if (values) order.sort((a, b) => sign * (values[a] - values[b]) || a - b);
  return order;
};

// Return the texts of answer i of a view.
vrft.answerTexts = async (view, i) => {
  const piece = Math.floor(i / view.piece);
  const texts = await vrft.load(`${view.id}/texts-${piece}`);
  return texts[i - piece * view.piece];
};

// Return lower-case texts of all answers, as a map that fills; `more` is told after each piece.
vrft.searchTexts = (view, more) => {
  if (view.searched) return view.searched;
  view.searched = new Map();
  const pieces = Math.ceil(view.count / view.piece);
  (async () => {
    for (let piece = 0; piece < pieces; piece++) {
      const texts = await vrft.load(`${view.id}/texts-${piece}`);
      texts.forEach((t, k) => view.searched.set(piece * view.piece + k, t.text.toLowerCase()));
      if (piece % 20 === 19 || piece === pieces - 1) more();
    }
  })();
  return view.searched;
};

// Return a histogram of scores in [0, 1]; a bar chooses its range, chosen again all.
vrft.histogram = (values, range, choose) => {
  const counts = new Array(vrft.BINS).fill(0);
  for (const value of values) counts[Math.min(vrft.BINS - 1, Math.floor(value * vrft.BINS))]++;
  const most = Math.max(1, ...counts);
  return vrft.el("div", { class: "histogram", role: "group", "aria-label": "Histogram of the score" },
    counts.map((count, bin) => {
      const low = bin / vrft.BINS, high = (bin + 1) / vrft.BINS;
      const last = bin === vrft.BINS - 1;
      const inside = range[0] <= low && (last || high <= range[1] + 1e-5);
      const text = `${vrft.percent(low)} to ${vrft.percent(high)}: ${vrft.plural(count, "answer")}`;
      const bar = vrft.el("span", {});
      bar.style.height = count ? `${Math.max(4, 100 * count / most)}%` : "0";
      return vrft.el("button", {
        type: "button", title: text, "aria-label": text, "aria-pressed": String(inside),
        onclick: () => choose(inside && range[1] - range[0] < 0.5 ? [0, 1]
          : [low, last ? 1 : high - 1e-6]),
      }, bar);
    }));
};

vrft.answersPage = async (view, place, main) => {
  const table = await vrft.load(`${view.id}/table`);
  if (vrft.view !== view) return;  // another was opened meanwhile
  const filter = view.filter ||= {
    search: "", subset: "", only: "", metric: view.primary, range: [0, 1], sort: "score",
  };
  const count = vrft.el("p", { class: "count", role: "status" });
  const detail = vrft.el("article", { class: "detail", "aria-live": "polite" });
  const bars = vrft.el("div", {});
  const list = vrft.list({
    label: `Answers of ${view.title}`,
    row: (i) => [
      vrft.thumb(view.id, table.pictures[table.picture[i]]),
      vrft.el("span", { class: "id" }, table.id[i] + (table.repeat[i] ? ` #${table.repeat[i]}` : "")),
      vrft.el("span", { class: "score" }, table.unreadable[i] ? "unreadable" : "",
        " ", vrft.percent(table.metrics[filter.metric][i])),
      vrft.el("span", { class: "line" }, table.question[i]),
    ],
    choose: (i) => { vrft.go(view.id, i); },
  });
  const refresh = () => {
    const texts = filter.search.trim() ? vrft.searchTexts(view, refresh) : new Map();
    const order = vrft.sifted(table, filter, texts);
    list.show(order, view.chosen);
    const mean = order.reduce((sum, i) => sum + table.metrics[filter.metric][i], 0) / order.length;
    count.textContent = `${order.length.toLocaleString("en")} of ${vrft.plural(view.count, "answer")}`
      + (order.length ? `, mean ${filter.metric} ${vrft.percent(mean)}` : "");
    bars.replaceChildren(vrft.histogram(table.metrics[filter.metric], filter.range, (range) => {
      filter.range = range;
      refresh();
    }));
  };
  const set = (name) => (value) => { filter[name] = value; refresh(); };
  const search = vrft.el("input", {
    type: "search", id: "search", placeholder: "Search ids, questions, answers  ( / )",
    "aria-label": "Search", value: filter.search, oninput: (e) => set("search")(e.target.value),
  });
  const controls = vrft.el("div", { class: "controls", id: "filters" }, search,
    view.subsets.length > 1 && vrft.select("Subset",
      [["", "all"], ...view.subsets.map((s, k) => [String(k), s || "(none)"])],
      filter.subset, set("subset")) || null,
    vrft.select("Only", [["", "all"], ["unreadable", "unreadable"], ["cut", "cut off"],
      ["missing", "missing"]], filter.only, set("only")),
    vrft.select("Metric", view.metrics.map((m) => [m, m]), filter.metric, set("metric")),
    vrft.select("Sort", [["score", "worst first"], ["-score", "best first"], ["order", "as in the data"],
      ["-tokens", "longest first"]], filter.sort, set("sort")));
  const side = vrft.el("section", { class: "side", "aria-label": "List" },
    vrft.reportBox(view), controls, bars, count, list.node);
  main.replaceChildren(vrft.el("div", { class: "split" }, side, detail));
  const show = (i) => {
    view.chosen = i;
    return vrft.showAnswer(view, table, i, detail);
  };
  vrft.page = { list, show: (rest) => (rest.length ? show(Number(rest[0])) : null) };
  view.chosen = place === undefined ? undefined : Number(place);
  refresh();
  if (place !== undefined) await show(view.chosen);
  else detail.replaceChildren(vrft.el("p", { class: "quiet" }, "Choose an answer: j, k or a click."));
};

// Say why an evaluation cannot be shown.
vrft.unreadablePage = (view, place, main) => {
  main.replaceChildren(vrft.el("div", { class: "error", role: "alert" },
    vrft.el("h2", {}, `${view.title} cannot be read`),
    vrft.el("p", {}, view.problem), vrft.el("p", { class: "quiet" }, view.folder)));
  vrft.page = { show: () => null };
};

// Return the report of an evaluation, folded.
vrft.reportBox = (view) => {
  const row = (part, name, v) => [`${part} ${name}`, vrft.percent(v.mean),
    v.low === null ? "–" : `${vrft.percent(v.low)} to ${vrft.percent(v.high)}`, String(v.n)];
  const rows = [...Object.entries(view.report.metrics).map(([name, v]) => row("", name, v)),
    ...Object.entries(view.report.subsets).flatMap(([part, of]) =>
      Object.entries(of).map(([name, v]) => row(part, name, v)))];
  const main = view.report.metrics[view.primary];
  const interval = main.low === null ? "" : `  [${vrft.percent(main.low)}, ${vrft.percent(main.high)}]`;
  return vrft.el("details", { class: "report" },
    vrft.el("summary", {}, vrft.el("strong", {}, `${view.primary} ${vrft.percent(main.mean)}`),
      interval, ` · ${view.benchmark} · ${view.report.unreadable} unreadable`,
      view.report.missing ? `, ${view.report.missing} with answers missing` : "",
      view.report.cut ? `, ${view.report.cut} cut off` : ""),
    vrft.facts(rows),
    view.published.length ? vrft.facts(view.published.map(([method, name, ours, paper]) =>
      [`paper: ${method}, ${name}`, vrft.percent(paper), `ours ${vrft.signed(ours - paper)}`])) : null,
    [...view.asked, ...view.report.notes].map((note) => vrft.el("p", { class: "quiet" }, note)),
    vrft.el("p", { class: "quiet" }, view.model, vrft.el("br"), view.folder),
    vrft.el("details", {}, vrft.el("summary", {}, "settings"),
      vrft.el("pre", {}, JSON.stringify(view.settings, null, 2))));
};

// Return metrics as rows, with the legacy score beside the strict one where they differ.
vrft.metricRows = (table, i, metrics) => metrics.filter((name) => !name.startsWith("legacy_"))
  .map((name) => {
    const legacy = table.metrics[`legacy_${name}`];
    const differs = legacy && legacy[i] !== table.metrics[name][i];
    return [name, vrft.percent(table.metrics[name][i])
      + (differs ? `, by the published rules ${vrft.percent(legacy[i])}` : "")];
  }).concat(metrics.filter((name) => name.startsWith("legacy_") && !table.metrics[name.slice(7)])
    .map((name) => [name, vrft.percent(table.metrics[name][i])]));

// Show answer i beside the list.
vrft.showAnswer = async (view, table, i, detail) => {
  if (!(i >= 0 && i < view.count)) {
    detail.replaceChildren(vrft.el("p", { class: "quiet" }, "There is no such answer."));
    return;
  }
  const texts = await vrft.answerTexts(view, i);
  if (view.chosen !== i) return;  // another was chosen meanwhile
  const marks = [
    ...texts.boxes.true.map((box) => ({ box, kind: "true" })),
    ...texts.boxes.answer.map((box) => ({ box, kind: "given" })),
    ...vrft.shapeMarks(texts.shapes),
    ...(texts.mask ? [{ mask: texts.mask, kind: "segmented" }] : []),
  ];
  const picture = (k) => vrft.figure(`pictures/${view.id}/${texts.pictures[k]}`, k === texts.boxed ? marks : [],
    [["true", "true box"], ["region", "true region"], ["ignored", "ignored"], ["given", "answer"],
      ["segmented", "answer's mask"]], `picture ${k + 1} of ${table.id[i]}`);
  vrft.fill(detail,
    vrft.detailHead(table.id[i], view.subsets[table.subset[i]]),
    vrft.el("div", { class: "columns" },
      vrft.prompt(texts.prompt, texts.pictures, picture),
      vrft.el("div", {},
        vrft.el("h3", {}, "Answer"), vrft.answerText(texts.text),
        vrft.facts([
          ["read", vrft.parsedText(texts.parsed)],
          ...(texts.truth ? [["ideal answer", vrft.el("span", { class: "text" }, texts.truth)]] : []),
          ...vrft.metricRows(table, i, view.metrics),
          ["tokens", vrft.number(table.tokens[i]) + (table.cut[i] ? ", cut off" : "")],
          ...(table.missing[i] ? [["", "no prediction: counted as wrong"]] : []),
        ]))));
};

vrft.detailHead = (id, subset) => vrft.el("div", { class: "head" },
  vrft.el("button", { type: "button", class: "back", onclick: () => vrft.back() }, "‹ list"),
  vrft.el("h2", {}, id), subset ? vrft.el("span", { class: "tag" }, subset) : null,
  vrft.el("span", { class: "steps" },
    vrft.el("button", { type: "button", "aria-label": "Previous", onclick: () => vrft.move(-1) }, "↑"),
    vrft.el("button", { type: "button", "aria-label": "Next", onclick: () => vrft.move(1) }, "↓")));
