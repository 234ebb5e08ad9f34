"use strict";

// A picture with boxes, regions and masks on it, which can be zoomed and moved, and its legend.

vrft.boxesShown = true;

// Return the pixels of the longer side that a picture has at least.
vrft.side = () => Math.max(420, Math.min(0.22 * window.innerWidth, 0.6 * window.innerHeight));

// Return a figure. `marks` are {box: [x1, y1, x2, y2], kind, colour, key}, {polygon: [[x, y], ...],
// kind}, both in fractions, or {mask: {size, counts}, kind}; those of a kind are switched together.
// `legend` is [[kind, label]].
vrft.figure = (src, marks, legend, alt) => {
  const stage = vrft.el("div", { class: "stage" });
  const image = vrft.el("img", { src, alt, decoding: "async", draggable: "false" });
  // A small picture is enlarged, so that boxes do not hide what they surround.
  image.onload = () => {
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    const scale = Math.max(1, vrft.side() / Math.max(width, height));
    // The height follows the width, and is 70vh at most: with a limit of its own an upright picture
    // would be stretched.
    image.style.width = `min(${Math.round(scale * width)}px, ${70 * width / height}vh)`;
  };
  const overlay = vrft.el("svg", {
    class: "overlay", viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true",
  });
  // Areas lie below lines, whatever their order.
  for (const mark of [...marks.filter((m) => m.polygon), ...marks.filter((m) => m.box)]) {
    const [x, y, right, bottom] = mark.box ?? [];
    const [tag, place] = mark.polygon ? ["path", { d: vrft.polygonPath(mark.polygon) }]
      : ["rect", { x, y, width: right - x, height: bottom - y }];
    const group = vrft.el("g", { class: `mark ${mark.kind}`, "data-key": mark.key },
      vrft.el(tag, { ...place, class: "halo" }), vrft.el(tag, { ...place, class: "line" }));
    if (mark.colour) group.lastChild.style.stroke = mark.colour;
    overlay.append(group);
  }
  const masks = marks.filter((mark) => mark.mask).map((mark) => vrft.maskCanvas(mark.mask, mark.kind));
  const layers = vrft.el("div", { class: "layers" }, masks, overlay);
  layers.classList.toggle("hidden", !vrft.boxesShown);
  stage.append(image, layers);
  const frame = vrft.el("div", { class: "frame" }, stage);
  const view = vrft.zoomable(frame, stage);
  const switches = legend.filter(([kind]) => marks.some((mark) => mark.kind === kind))
    .map(([kind, label]) => {
      const box = vrft.checkbox(label, true, (on) => {
        for (const mark of layers.querySelectorAll(`.${kind}`)) {
          mark.classList.toggle("hidden", !on);
        }
      });
      box.classList.add("key", kind);
      return box;
    });
  const buttons = vrft.el("span", { class: "zoom" },
    vrft.el("button", { type: "button", onclick: () => view.by(1.5), "aria-label": "Zoom in" }, "+"),
    vrft.el("button", { type: "button", onclick: () => view.by(1 / 1.5), "aria-label": "Zoom out" }, "−"),
    vrft.el("button", { type: "button", onclick: () => view.reset(), "aria-label": "Whole picture" }, "⤢"));
  const figure = vrft.el("figure", {}, frame,
    vrft.el("figcaption", {}, vrft.el("span", { class: "keys" }, switches), buttons));
  figure.zoom = view;
  return figure;
};

// Return the thumbnail of a picture of a view, which is asked for when it comes into sight.
vrft.thumb = (view, name) => (name === undefined ? null : vrft.el("img", {
  class: "thumb", src: `thumbnails/${view}/${name}.jpg`, alt: "", loading: "lazy",
  decoding: "async", width: 40, height: 40,
  // A large export has thumbnails of its first pictures alone.
  onerror: (event) => {
    const full = `pictures/${view}/${name}`;
    if (!event.target.src.endsWith(full)) event.target.src = full;
  },
}));

// Let a stage be moved by dragging and zoomed by Ctrl and the wheel, within its frame.
vrft.zoomable = (frame, stage) => {
  let scale = 1, left = 0, top = 0;
  const draw = () => {
    const most = (size) => (scale - 1) * size;
    left = Math.min(0, Math.max(-most(frame.clientWidth), left));
    top = Math.min(0, Math.max(-most(frame.clientHeight), top));
    stage.style.transform = `translate(${left}px, ${top}px) scale(${scale})`;
    frame.classList.toggle("zoomed", scale > 1);
  };
  const by = (factor, x = frame.clientWidth / 2, y = frame.clientHeight / 2) => {
    const next = Math.min(20, Math.max(1, scale * factor));
    left = x - (x - left) * (next / scale);
    top = y - (y - top) * (next / scale);
    scale = next;
    draw();
  };
  frame.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;  // the page itself scrolls
    event.preventDefault();
    const place = frame.getBoundingClientRect();
    by(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.clientX - place.left, event.clientY - place.top);
  }, { passive: false });
  frame.addEventListener("pointerdown", (event) => {
    if (scale > 1) frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointermove", (event) => {
    if (!frame.hasPointerCapture(event.pointerId)) return;
    left += event.movementX;
    top += event.movementY;
    draw();
  });
  frame.addEventListener("dblclick", () => (scale > 1 ? reset() : by(2)));
  const reset = () => { scale = 1; left = 0; top = 0; draw(); };
  return { by, reset };
};

// Show or hide the boxes of every picture on the page.
vrft.toggleBoxes = () => {
  vrft.boxesShown = !vrft.boxesShown;
  for (const layers of document.querySelectorAll(".layers")) {
    layers.classList.toggle("hidden", !vrft.boxesShown);
  }
};

// Return the colour of an advantage: blue above zero, vermilion below, pale near it.
vrft.advantageColour = (advantage, largest) => `rgb(${vrft.advantageRGB(advantage, largest)})`;

vrft.advantageRGB = (advantage, largest) => {
  const share = largest > 0 ? Math.min(1, Math.abs(advantage) / largest) : 0;
  if (share < 0.02) return [139, 148, 158];
  const pole = advantage > 0 ? [0, 114, 178] : [213, 94, 0];
  return pole.map((value, k) => {
    const pale = [201, 209, 217][k];
    return Math.round(pale + (0.3 + 0.7 * share) * (value - pale));
  });
};

// Return black or white, whichever is read better on a colour [red, green, blue].
vrft.inkOn = (colour) => {
  const [r, g, b] = colour.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  const luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return 1.05 / (luminance + 0.05) >= (luminance + 0.05) / 0.05 ? "#fff" : "#000";
};
