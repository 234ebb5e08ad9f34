"use strict";

// Regions on a picture: polygons as paths, and masks in COCO's run-length code as a canvas.

vrft.MASK_SIDE = 1024;  // pixels of the longer side of a mask that is drawn

// Return the lengths of the runs of a code, of zeros and ones in turn, down the columns.
vrft.runs = (counts) => {
  const runs = [];
  for (let p = 0; p < counts.length;) {
    let value = 0, shift = 0, code = 0;
    do {
      code = counts.charCodeAt(p++) - 48;
      value |= (code & 31) << shift;
      shift += 5;
    } while (code & 32 && p < counts.length);
    if (code & 16) value |= -1 << shift;
    runs.push(runs.length > 2 ? value + runs.at(-2) : value);
  }
  return runs;
};

// Return a canvas on which a mask {size: [height, width], counts} is filled with a colour.
vrft.maskCanvas = ({ size: [height, width], counts }, kind) => {
  const scale = Math.min(1, vrft.MASK_SIDE / Math.max(height, width));
  const canvas = vrft.el("canvas", { class: `mask ${kind}`, "aria-hidden": "true",
    width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) });
  const pen = canvas.getContext("2d");
  pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--given");
  pen.scale(canvas.width / width, canvas.height / height);
  let place = 0;
  vrft.runs(counts).forEach((length, k) => {
    for (let rest = k % 2 ? length : 0, from = place; rest > 0;) {
      const y = from % height, part = Math.min(rest, height - y);
      pen.fillRect(Math.floor(from / height), y, 1, part);
      from += part;
      rest -= part;
    }
    place += length;
  });
  return canvas;
};

// Return marks of a sample's shapes {true, ignored}, polygons in fractions of the picture.
vrft.shapeMarks = (shapes) => ["true", "ignored"].flatMap((name) =>
  (shapes?.[name] ?? []).map((polygon) => ({ polygon, kind: name === "true" ? "region" : name })));

// Return the path of a polygon.
vrft.polygonPath = (polygon) => `M${polygon.map((point) => point.join(" ")).join("L")}Z`;
