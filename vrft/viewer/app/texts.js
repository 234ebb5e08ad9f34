"use strict";

// Prompts and answers as text: turns with pictures in their places, thinking folded.

// Return the turns of a prompt; `picture(place)` makes the figure of its place-th picture.
vrft.prompt = (turns, pictures, picture) => {
  let next = 0;
  const places = turns.some((turn) => turn.text.includes("<image>"));
  const nodes = turns.filter((turn) => turn.text || turn.role !== "system").map((turn) => {
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

// Return an answer as text; what stands before </think> is folded. With `pieces`, its tokens are
// shaded, and the tags of thoughts are among them.
vrft.answerText = (text, pieces = null) => {
  const thought = THOUGHT.exec(text);
  const start = thought ? thought[0].length : 0;
  const part = (from, to) => (pieces ? vrft.shaded(pieces, from, to) : text.slice(from, to));
  const opening = thought && !pieces ? /^(\s*<think>\s*)?/.exec(text)[0].length : 0;
  return vrft.el("div", { class: "answer" },
    thought && vrft.el("details", { class: "thought", open: vrft.thoughtsOpen,
      ontoggle: (event) => { vrft.thoughtsOpen = event.target.open; } },
      vrft.el("summary", {}, `thinking, ${vrft.plural(thought[1].length, "character")}`),
      vrft.el("div", { class: "text" }, part(opening, pieces ? start : thought[1].length))),
    vrft.el("div", { class: "text" }, text.length > start ? part(start, text.length)
      : ["(empty)", pieces ? part(start, text.length) : ""]));
};

// Return what was read from an answer as one line.
vrft.parsedText = (parsed) => {
  if (parsed === null || parsed === undefined) return "nothing: unreadable";
  return Array.isArray(parsed) ? parsed.map(vrft.number).join(", ") : String(parsed);
};
