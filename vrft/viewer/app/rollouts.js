"use strict";

// The groups of a step: a picture with the true box and the boxes of all G answers, coloured by
// their advantages, and the answers with their rewards.

vrft.rolloutsPage = async (view, place, main) => {
  const steps = await vrft.load(`${view.id}/steps`, vrft.catalogue.live);
  if (vrft.view !== view) return;  // another was opened meanwhile
  if (!steps.length) {
    main.replaceChildren(vrft.el("p", { class: "quiet" },
      "No completions were logged (train.log_completions)."));
    return;
  }
  const detail = vrft.el("article", { class: "detail", "aria-live": "polite" });
  const heading = vrft.el("p", { class: "count", role: "status" });
  let groups = [], step = steps.at(-1);
  const list = vrft.list({
    label: "Groups",
    row: (k) => {
      const rewards = groups[k].answers.map((answer) => answer.reward);
      const flat = groups[k].answers.every((answer) => answer.advantage === 0);
      return [
        vrft.thumb(view.id, groups[k].pictures[0]),
        vrft.el("span", { class: "id" }, groups[k].id),
        vrft.el("span", { class: "score" }, flat ? "no signal" : "",
          ` ${vrft.number(Math.min(...rewards))} – ${vrft.number(Math.max(...rewards))}`),
        vrft.el("span", { class: "line" }, groups[k].prompt.at(-1)?.text ?? ""),
      ];
    },
    choose: (k) => vrft.go(view.id, "step", step, k),
  });
  const slider = vrft.el("input", {
    type: "range", min: 0, max: steps.length - 1, "aria-label": "Step", id: "search",
    oninput: () => vrft.go(view.id, "step", steps[Number(slider.value)], 0),
  });
  const turn = (by) => {
    const next = steps[steps.indexOf(step) + by];
    if (next !== undefined) vrft.go(view.id, "step", next, view.chosen ?? 0);
  };
  const show = async (rest) => {
    const wanted = rest[0] === "step" ? Number(rest[1]) : step;
    step = steps.includes(wanted) ? wanted : steps.at(-1);
    const content = await vrft.load(`${view.id}/step-${step}`);
    if (step !== (steps.includes(wanted) ? wanted : step)) return;
    groups = content.groups;
    slider.value = String(steps.indexOf(step));
    const answers = groups.flatMap((group) => group.answers);
    const mean = answers.reduce((sum, answer) => sum + answer.reward, 0) / answers.length;
    const silent = groups.filter((g) => g.answers.every((a) => a.advantage === 0)).length;
    heading.textContent = `step ${step}: ${vrft.plural(groups.length, "group")}, mean reward `
      + `${vrft.number(mean)}${silent ? `, ${silent} without signal` : ""}`;
    view.chosen = Math.min(groups.length - 1, Number(rest[2] ?? 0));
    list.show(Array.from(groups.keys()), view.chosen);
    vrft.showGroup(view, groups[view.chosen], content.note, detail);
  };
  main.replaceChildren(vrft.el("div", { class: "split" },
    vrft.el("section", { class: "side", "aria-label": "List" },
      vrft.el("div", { class: "controls", id: "filters" },
        vrft.el("button", { type: "button", onclick: () => turn(-1), "aria-label": "Step before" }, "‹"),
        slider,
        vrft.el("button", { type: "button", onclick: () => turn(1), "aria-label": "Step after" }, "›")),
      heading, list.node),
    detail));
  // A run that goes on has steps to come.
  const refresh = async () => {
    if (!vrft.catalogue.live) return;
    const newer = await vrft.load(`${view.id}/steps`, true);
    steps.splice(0, steps.length, ...newer);
    slider.max = steps.length - 1;
    slider.value = String(steps.indexOf(step));
  };
  vrft.page = { list, show, turn, refresh };
  await show(place === undefined ? [] : place);
};

// Show a group beside the list; the answer under the pointer has its box stand out.
vrft.showGroup = (view, group, note, detail) => {
  const largest = Math.max(...group.answers.map((answer) => Math.abs(answer.advantage)));
  const ranked = Array.from(group.answers.keys())
    .sort((a, b) => group.answers[b].advantage - group.answers[a].advantage || a - b);
  const marks = [
    ...vrft.shapeMarks(group.shapes),
    // The best lie on top.
    ...ranked.toReversed().flatMap((g) => group.answers[g].boxes.map((box) => ({
      box, kind: "sampled", key: String(g),
      colour: vrft.advantageColour(group.answers[g].advantage, largest),
    }))),
    ...group.true.map((box) => ({ box, kind: "true" })),
  ];
  const picture = (k) => vrft.figure(`pictures/${view.id}/${group.pictures[k]}`, k === group.boxed ? marks : [],
    [["true", "true box"], ["region", "true region"], ["ignored", "ignored"],
      ["sampled", "answers"]], `picture ${k + 1} of ${group.id}`);
  const pieces = group.answers.map(vrft.pieces);
  const point = (g, on) => {
    for (const mark of detail.querySelectorAll(".mark.sampled")) {
      mark.classList.toggle("faded", on && mark.dataset.key !== String(g));
    }
  };
  const card = (g) => {
    const answer = group.answers[g];
    const chip = vrft.el("span", { class: "chip" }, `${answer.advantage > 0 ? "+" : ""}${vrft.number(answer.advantage)}`);
    chip.style.background = vrft.advantageColour(answer.advantage, largest);
    chip.style.color = vrft.inkOn(vrft.advantageRGB(answer.advantage, largest));
    const own = ["sample_id", "text", "parsed", "finished", "tokens", "rewards", "reward",
      "advantage", "boxes", "token_logprobs", "token_chars", "token_entropy"];
    const logged = Object.entries(answer).filter(([name]) => !own.includes(name));
    return vrft.el("section", {
      class: "card", tabindex: "0", "aria-label": `answer ${g + 1}`,
      onmouseenter: () => point(g, true), onmouseleave: () => point(g, false),
      onfocus: () => point(g, true), onblur: () => point(g, false),
    },
    vrft.el("p", { class: "cardhead" }, chip, vrft.el("strong", {}, `reward ${vrft.number(answer.reward)}`),
      vrft.el("span", { class: "quiet" }, vrft.plural(answer.tokens, "token"),
        vrft.entropyText(answer), answer.finished ? "" : " · cut off", ` · answer ${g + 1}`)),
    vrft.answerText(answer.text, vrft.tokensShown ? pieces[g] : null),
    vrft.el("dl", { class: "parts" }, [
      ...Object.entries(answer.rewards).map(([name, value]) => [name, vrft.number(value)]),
      ["read", vrft.parsedText(answer.parsed)],
      ...logged.map(([name, value]) => [name, vrft.parsedText(value)]),
    ].map(([name, value]) => vrft.el("div", {}, vrft.el("dt", {}, name), vrft.el("dd", {}, value)))));
  };
  vrft.fill(detail,
    vrft.detailHead(group.id, ""),
    note ? vrft.el("p", { class: "quiet" }, `The data cannot be read: ${note}`) : null,
    vrft.el("div", { class: "columns" }, vrft.prompt(group.prompt, group.pictures, picture),
      vrft.el("div", { class: "cards" },
        vrft.el("p", { class: "quiet" }, "blue: pushed up · orange: pushed down · grey: no signal"),
        pieces.some(Boolean)
          ? vrft.tokenLegend(() => vrft.showGroup(view, group, note, detail))
          : vrft.el("p", { class: "quiet" },
            "No probabilities of tokens in this log: train.log_token_logprobs writes them."),
        ranked.map(card))));
};
