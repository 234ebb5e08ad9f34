"use strict";

// The tokens of a sampled answer, shaded by the probability with which each was drawn.

vrft.tokensShown = true;

// The steps of shading, each with its least probability; the unlikely ones are underlined too.
vrft.LEVELS = [[0.9, "≥ 90 %"], [0.5, "50 – 90 %"], [0.1, "10 – 50 %"], [0.01, "1 – 10 %"],
  [0, "< 1 %"]];

vrft.level = (logp) => vrft.LEVELS.findIndex(([least]) => Math.exp(logp) >= least);

// Return the pieces {text, logps} that join exactly to an answer's text, or null for one whose
// tokens were not logged. What the chat template opened has no tokens; a character of several
// tokens has them all; the end token is a piece without text.
vrft.pieces = ({ text, token_logprobs: logps, token_chars: lengths }) => {
  if (!logps?.length || lengths?.length !== logps.length) return null;
  const letters = Array.from(text);  // code points, as they are counted in the log
  let place = letters.length - lengths.reduce((a, b) => a + b, 0), waiting = [];
  if (place < 0) return null;
  const pieces = place ? [{ text: letters.slice(0, place).join(""), logps: [] }] : [];
  lengths.forEach((length, k) => {
    waiting.push(logps[k]);
    if (!length) return;
    pieces.push({ text: letters.slice(place, place + length).join(""), logps: waiting });
    place += length;
    waiting = [];
  });
  if (waiting.length) pieces.push({ text: "", logps: waiting });
  return pieces;
};

vrft.probability = (logp) => {
  const share = 100 * Math.exp(logp);
  return `${share >= 99.5 ? "> 99" : share >= 1 ? share.toFixed(0) : share >= 0.1
    ? share.toFixed(1) : "< 0.1"} %`;
};

vrft.pieceTitle = ({ text, logps }) => `${text ? JSON.stringify(text) : "end of the answer"}: `
  + logps.map((logp) => `log p ${vrft.number(logp + 0)} (${vrft.probability(logp)})`).join(", ");

// Return the part of some pieces between two places of their text as elements and texts.
vrft.shaded = (pieces, from, to) => {
  let place = 0;
  return pieces.map((piece) => {
    const start = place;
    place += piece.text.length;
    const part = piece.text.slice(Math.max(0, from - start), Math.max(0, to - start));
    const last = !piece.text && to >= start && from < to;
    if (!part && !last) return null;
    if (!piece.logps.length) return part;
    const level = vrft.level(Math.min(...piece.logps));
    return vrft.el("span", { class: `token p${level}${last ? " end" : ""}`,
      title: vrft.pieceTitle(piece) }, last ? "■" : part);
  }).filter((node) => node !== null);
};

// Return the legend of the shading with its switch; `change` draws the answers again.
vrft.tokenLegend = (change) => vrft.el("div", { class: "tokenlegend" },
  vrft.checkbox("tokens by probability", vrft.tokensShown, (on) => {
    vrft.tokensShown = on;
    change();
  }),
  vrft.tokensShown ? vrft.el("span", { class: "levels" }, vrft.LEVELS.map(([, label], level) =>
    vrft.el("span", { class: `token p${level}` }, label))) : null);

// Return the mean entropy of an answer's tokens in words, or what the sampled tokens say of it.
vrft.entropyText = (answer) => {
  if (typeof answer.token_entropy === "number") return ` · entropy ${vrft.number(answer.token_entropy)}`;
  const logps = answer.token_logprobs;
  if (!logps?.length) return "";
  const mean = -logps.reduce((a, b) => a + b, 0) / logps.length;
  return ` · entropy ≈ ${vrft.number(Number(mean.toFixed(4)))}`;
};
