"use strict";

// Elements, and the numbers and words in them. Texts only ever become text nodes: whatever an
// answer says, it is never markup.

// Return an element: attributes by name, on... as listeners, children as elements or texts.
vrft.el = (tag, attributes = {}, ...children) => {
  const svg = ["svg", "rect", "line", "path", "g"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined)
    .map((child) => (typeof child === "string" ? vrft.visible(child) : child)));
  return node;
};

// Control characters, halves of surrogate pairs, and marks that turn the direction of writing,
// which make "cba" of "abc".
const HIDDEN = /[\0-\x08\v\f\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]/gu;

// Return a text in which such characters are seen, as \x1b and \u202e.
vrft.visible = (text) => text.replace(HIDDEN, (mark) => {
  const code = mark.charCodeAt(0).toString(16);
  return code.length > 2 ? `\\u${code.padStart(4, "0")}` : `\\x${code.padStart(2, "0")}`;
});

// Put these children into a node in the place of its own; null stands for none.
vrft.fill = (node, ...children) =>
  node.replaceChildren(...children.flat().filter((child) => child !== null));

vrft.percent = (value) => (value === null || value === undefined ? "–" : (100 * value).toFixed(1));

vrft.signed = (value) => (value > 0 ? "+" : "") + vrft.percent(value);

// Return a number with about four digits, without a tail of zeros.
vrft.number = (value) => {
  if (typeof value !== "number") return value === null || value === undefined ? "–" : String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(2)
    : String(Number(value.toPrecision(4)));
};

vrft.plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

// Return a select with these options [value, label], and tell `change` of the value chosen.
vrft.select = (label, options, value, change, kind = "") => {
  const select = vrft.el("select", { "aria-label": label, onchange: () => change(select.value) },
    options.map(([name, text]) => vrft.el("option", { value: name, selected: name === value }, text)));
  return vrft.el("label", { class: `field ${kind}` }, vrft.el("span", {}, label), select);
};

vrft.checkbox = (label, checked, change) => {
  const box = vrft.el("input", { type: "checkbox", checked, onchange: () => change(box.checked) });
  return vrft.el("label", { class: "check" }, box, label);
};

// Return rows [heading, value] as a small table.
vrft.facts = (rows) => vrft.el("table", { class: "facts" }, rows.map(([name, ...values]) =>
  vrft.el("tr", {}, vrft.el("th", { scope: "row" }, name),
    values.map((value) => vrft.el("td", {}, value)))));
