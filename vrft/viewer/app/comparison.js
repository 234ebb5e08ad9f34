"use strict";

// Two evaluations of the same samples: what changed, gains and losses first, both answers on one
// picture.

vrft.comparisonPage = async (view, place, main) => {
  const of = (id) => vrft.catalogue.views.find((other) => other.id === id);
  const [before, after] = [of(view.before), of(view.after)];
  const [old, now, pairs] = await Promise.all([`${before.id}/table`, `${after.id}/table`,
    `${view.id}/pairs`].map((name) => vrft.load(name)));
  if (vrft.view !== view) return;  // another was opened meanwhile
  // The place in the old table -> that in the new one; where both have the same order, itself.
  const places = pairs && new Map(pairs);
  const there = (i) => (places ? places.get(i) : i);
  const filter = view.filter ||= { search: "", kind: "changed", metric: view.primary };
  const gain = (i) => now.metrics[filter.metric][there(i)] - old.metrics[filter.metric][i];
  const detail = vrft.el("article", { class: "detail", "aria-live": "polite" });
  const count = vrft.el("p", { class: "count", role: "status" });
  const list = vrft.list({
    label: view.title,
    row: (i) => [
      vrft.thumb(before.id, old.pictures[old.picture[i]]),
      vrft.el("span", { class: "id" }, old.id[i]),
      vrft.el("span", { class: `score ${gain(i) > 0 ? "up" : gain(i) < 0 ? "down" : ""}` },
        `${gain(i) > 0 ? "▲" : gain(i) < 0 ? "▼" : ""} ${vrft.signed(gain(i))}`),
      vrft.el("span", { class: "line" }, old.question[i]),
    ],
    choose: (i) => vrft.go(view.id, i),
  });
  const kinds = {
    changed: (i) => gain(i) !== 0, gains: (i) => gain(i) > 0, losses: (i) => gain(i) < 0,
    all: () => true,
  };
  const refresh = () => {
    const words = filter.search.trim().toLowerCase();
    const all = places ? [...places.keys()] : Array.from(old.id.keys());
    const order = all.filter((i) => kinds[filter.kind](i) && (!words
      || old.id[i].toLowerCase().includes(words) || old.question[i].toLowerCase().includes(words)));
    // The greatest changes first; of equal ones gains before losses.
    order.sort((a, b) => Math.abs(gain(b)) - Math.abs(gain(a)) || gain(b) - gain(a) || a - b);
    list.show(order, view.chosen);
    const [up, down] = [kinds.gains, kinds.losses].map((kind) => all.filter(kind).length);
    const mean = all.reduce((sum, i) => sum + gain(i), 0) / all.length;
    count.textContent = `${vrft.plural(up, "gain")}, ${down} ${down === 1 ? "loss" : "losses"}, `
      + `${(all.length - up - down).toLocaleString("en")} unchanged; mean ${vrft.signed(mean)}`;
  };
  const set = (name) => (value) => { filter[name] = value; refresh(); };
  const others = vrft.comparisons();
  const controls = vrft.el("div", { class: "controls", id: "filters" },
    others.length > 1 ? vrft.select("Pair", others.map((other) => [other.id, other.title]), view.id,
      (id) => vrft.go(id), "long") : null,
    vrft.el("input", {
      type: "search", id: "search", placeholder: "Search ids and questions  ( / )",
      "aria-label": "Search", value: filter.search, oninput: (e) => set("search")(e.target.value),
    }),
    vrft.select("Show", [["changed", "changed"], ["gains", "gains"], ["losses", "losses"],
      ["all", "all"]], filter.kind, set("kind")),
    vrft.select("Metric", view.metrics.map((m) => [m, m]), filter.metric, set("metric")));
  main.replaceChildren(vrft.el("div", { class: "split" },
    vrft.el("section", { class: "side", "aria-label": "List" },
      vrft.el("p", { class: "quiet" }, `${before.title} → ${after.title}`,
        view.note ? `, ${view.note}` : ""), controls, count, list.node),
    detail));
  const show = async (i) => {
    view.chosen = i;
    if (!(i >= 0 && i < old.id.length) || there(i) === undefined) {
      detail.replaceChildren(vrft.el("p", { class: "quiet" }, "There is no such sample."));
      return;
    }
    const [was, is] = await Promise.all([vrft.answerTexts(before, i), vrft.answerTexts(after, there(i))]);
    if (view.chosen !== i) return;
    const marks = [
      ...was.boxes.true.map((box) => ({ box, kind: "true" })),
      ...was.boxes.answer.map((box) => ({ box, kind: "before" })),
      ...is.boxes.answer.map((box) => ({ box, kind: "given" })),
      ...vrft.shapeMarks(was.shapes),
      ...(is.mask ? [{ mask: is.mask, kind: "segmented" }] : []),
    ];
    const picture = (k) => vrft.figure(`pictures/${before.id}/${was.pictures[k]}`, k === was.boxed ? marks : [],
      [["true", "true box"], ["region", "true region"], ["ignored", "ignored"],
        ["before", "before"], ["given", "after"], ["segmented", "mask after"]], `picture ${k + 1} of ${old.id[i]}`);
    const side = (title, texts, table, k) => vrft.el("div", {},
      vrft.el("h3", {}, title), vrft.answerText(texts.text),
      vrft.facts([["read", vrft.parsedText(texts.parsed)],
        ...vrft.metricRows(table, k, view.metrics),
        ["tokens", vrft.number(table.tokens[k]) + (table.cut[k] ? ", cut off" : "")]]));
    vrft.fill(detail,
      vrft.detailHead(old.id[i], before.subsets[old.subset[i]]),
      vrft.el("div", { class: "columns" }, vrft.prompt(was.prompt, was.pictures, picture),
        vrft.el("div", {}, was.truth ? vrft.facts([["ideal answer",
          vrft.el("span", { class: "text" }, was.truth)]]) : null,
        vrft.el("div", { class: "pair" }, side(before.title, was, old, i),
          side(after.title, is, now, there(i))))));
  };
  vrft.page = { list, show: (rest) => (rest.length ? show(Number(rest[0])) : null) };
  view.chosen = place === undefined ? undefined : Number(place);
  refresh();
  if (place !== undefined) await show(view.chosen);
  else detail.replaceChildren(vrft.el("p", { class: "quiet" }, "Choose a sample: j, k or a click."));
};
