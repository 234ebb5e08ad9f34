"use strict";

// A list of any length: only the rows in sight are elements.

// Return the height of a row in pixels: two lines of the page's type.
vrft.rowHeight = () => Math.round(3.47 * parseFloat(getComputedStyle(document.documentElement).fontSize));

// Return {node, show(order, chosen), move(by)}. `row(index)` makes a row's children, `choose(index)`
// is told of the row that was chosen.
vrft.list = ({ row, choose, label }) => {
  const height = vrft.rowHeight();
  const filler = vrft.el("div", { class: "filler" });
  const node = vrft.el("div", {
    class: "list", role: "listbox", tabindex: "0", "aria-label": label,
    onscroll: () => draw(),
  }, filler);
  let order = [], position = -1, drawn = "";

  const draw = (force = false) => {
    const first = Math.max(0, Math.floor(node.scrollTop / height) - 5);
    const last = Math.min(order.length, first + Math.ceil(node.clientHeight / height) + 10);
    const key = `${first}-${last}-${position}`;
    if (!force && key === drawn) return;
    drawn = key;
    filler.style.height = `${order.length * height}px`;
    filler.replaceChildren(...Array.from({ length: last - first }, (_, offset) => {
      const place = first + offset;
      const option = vrft.el("div", {
        class: "row", role: "option", id: `row-${place}`,
        "aria-selected": String(place === position),
        "aria-setsize": order.length, "aria-posinset": place + 1,
        onclick: () => select(place),
      }, row(order[place]));
      option.style.top = `${place * height}px`;
      option.style.height = `${height}px`;
      return option;
    }));
    node.setAttribute("aria-activedescendant", position >= 0 ? `row-${position}` : "");
  };

  const reveal = () => {
    const top = position * height;
    if (top < node.scrollTop) node.scrollTop = top;
    if (top + height > node.scrollTop + node.clientHeight) {
      node.scrollTop = top + height - node.clientHeight;
    }
  };

  const select = (place) => {
    if (!order.length) return;
    position = Math.min(order.length - 1, Math.max(0, place));
    reveal();
    draw();
    choose(order[position]);
  };

  // Only a list that is laid out knows how many rows are in sight.
  new ResizeObserver(() => draw(true)).observe(node);

  return {
    node,
    // Show these rows; the one chosen stays so if it is among them.
    show: (next, chosen) => {
      order = next;
      position = chosen === undefined ? -1 : order.indexOf(chosen);
      if (position < 0) node.scrollTop = 0;
      else requestAnimationFrame(() => { reveal(); draw(true); });
      draw(true);
    },
    move: (by) => select(position + by),
  };
};
