"use strict";

// Prompts and answers as text: turns with pictures in their places, thinking folded.

// Return the turns of a prompt; `picture(place)` makes the figure of its place-th picture.
vrft.prompt = (turns, pictures, picture) => {
  let next = 0;
  const places = turns.some((turn) => turn.text.includes("<image>"));
  const nodes = turns.map((turn) => {
    const pieces = [];
    if (!places && next === 0 && turn === turns.find((t) => t.role === "user" || t.role === "raw")) {
      while (next < pictures.length) pieces.push(picture(next++));
    }
    const texts = places && turn.role !== "system" ? turn.text.split("<image>") : [turn.text];
    texts.forEach((text, place) => {
      if (text) pieces.push(vrft.el("div", { class: "text" }, text));
      if (place < texts.length - 1 && next < pictures.length) pieces.push(picture(next++));
    });
    return vrft.el("section", { class: `turn ${turn.role}` },
      vrft.el("h4", {}, turn.role === "raw" ? "prompt" : turn.role), pieces);
  });
  return vrft.el("div", { class: "prompt" }, nodes);
};

const THOUGHT = /^([\s\S]*?)<\/think>\s*/;

// Return an answer as text; what stands before </think> is folded.
vrft.answerText = (text) => {
  const thought = THOUGHT.exec(text);
  const rest = thought ? text.slice(thought[0].length) : text;
  return vrft.el("div", { class: "answer" },
    thought && vrft.el("details", { class: "thought" },
      vrft.el("summary", {}, `thinking, ${vrft.plural(thought[1].length, "character")}`),
      vrft.el("div", { class: "text" }, thought[1].replace(/^\s*<think>\s*/, ""))),
    vrft.el("div", { class: "text" }, rest || "(empty)"));
};

// Return what was read from an answer as one line.
vrft.parsedText = (parsed) => {
  if (parsed === null || parsed === undefined) return "nothing: unreadable";
  return Array.isArray(parsed) ? parsed.map(vrft.number).join(", ") : String(parsed);
};
