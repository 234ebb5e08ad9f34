"use strict";

// A chart of one metric over steps, on a canvas: any number of points, one column of pixels each.

// Return the lowest, highest and mean value of each column of pixels that has points.
vrft.columnsOf = (steps, values, from, to, width) => {
  const columns = [];
  for (let k = 0; k < steps.length; k++) {
    const value = values[k];
    if (typeof value !== "number" || steps[k] < from || steps[k] > to) continue;
    const x = to > from ? Math.round((steps[k] - from) / (to - from) * (width - 1)) : width >> 1;
    let last = columns.at(-1);
    if (!last || last.x !== x) {
      last = { x, low: value, high: value, sum: 0, count: 0 };
      columns.push(last);
    }
    last.low = Math.min(last.low, value);
    last.high = Math.max(last.high, value);
    last.sum += value;
    last.count += 1;
  }
  return columns;
};

// Return values as an exponential moving average; a share of 0 leaves them as they are.
vrft.smooth = (values, share) => {
  if (!share) return values;
  let mean = null;
  return values.map((value) => {
    if (typeof value !== "number") return value;
    mean = mean === null ? value : share * mean + (1 - share) * value;
    return mean;
  });
};

// Return the runs of one arm as one series: their mean at each step, and their extremes.
vrft.merge = (series) => {
  const [{ steps: first }] = series;
  const alike = series.every(({ steps }) => steps.length === first.length
    && steps.every((step, k) => step === first[k]));
  if (alike) return vrft.mergeAlike(first, series.map(({ values }) => values));
  const at = new Map();
  for (const { steps, values } of series) {
    steps.forEach((step, k) => {
      if (typeof values[k] !== "number") return;
      const seen = at.get(step) ?? [];
      seen.push(values[k]);
      at.set(step, seen);
    });
  }
  const steps = [...at.keys()].sort((a, b) => a - b);
  return {
    steps, values: steps.map((s) => at.get(s).reduce((a, b) => a + b) / at.get(s).length),
    low: steps.map((s) => Math.min(...at.get(s))), high: steps.map((s) => Math.max(...at.get(s))),
  };
};

// Return the mean and the extremes of columns of values at the same steps, where any has a value.
vrft.mergeAlike = (steps, columns) => {
  const merged = { steps: [], values: [], low: [], high: [] };
  for (let k = 0; k < steps.length; k++) {
    let sum = 0, count = 0, low = Infinity, high = -Infinity;
    for (const values of columns) {
      const value = values[k];
      if (typeof value !== "number") continue;
      sum += value;
      count += 1;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (!count) continue;
    merged.steps.push(steps[k]);
    merged.values.push(sum / count);
    merged.low.push(low);
    merged.high.push(high);
  }
  return merged;
};

// Return the lowest and the highest value of all series, their bands included, with room around
// a single one; [Infinity, -Infinity] without any.
vrft.span = (series) => {
  let low = Infinity, top = -Infinity;
  for (const values of series.flatMap((s) => [s.values, s.low ?? [], s.high ?? []])) {
    for (const value of values) {
      if (typeof value !== "number") continue;
      if (value < low) low = value;
      if (value > top) top = value;
    }
  }
  const room = low === top ? Math.abs(low) * 0.1 || 0.5 : 0;
  return [low - room, top + room];
};

// Return a figure of series {name, colour, steps, values, low?, high?}; `events` are
// {step, text, kind}, warnings and changes, drawn as upright lines with a mark at their top.
vrft.chart = (title, series, events) => {
  const canvas = vrft.el("canvas", { role: "img" });
  const readout = vrft.el("span", { class: "readout" });
  const figure = vrft.el("figure", { class: "chart" },
    vrft.el("figcaption", {}, vrft.el("strong", { title }, title), readout), canvas);
  const all = series.flatMap((s) => s.steps);
  const from = all.reduce((a, b) => Math.min(a, b), Infinity);
  const to = all.reduce((a, b) => Math.max(a, b), -Infinity);
  const lastOf = (s) => s.values.findLast((value) => typeof value === "number");
  canvas.setAttribute("aria-label", `${title}: ${series.map((s) =>
    `${s.name} ${vrft.number(s.values.find((v) => typeof v === "number"))} at step ${from}, `
    + `${vrft.number(lastOf(s))} at step ${to}`).join("; ")}`);
  // The values of all series, each beside its colour.
  const tell = (words, valueOf) => vrft.fill(readout, words, series.flatMap((s) => {
    const swatch = vrft.el("span", { class: "swatch" });
    swatch.style.background = s.colour;
    return [" ", vrft.el("span", {}, swatch, ` ${valueOf(s)}`)];
  }));
  const [low, top] = vrft.span(series);
  const rest = () => tell("", (s) => vrft.number(lastOf(s)));
  rest();

  const draw = (pointer = null) => {
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width || low > top) return;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    const size = Math.round(0.73 * parseFloat(getComputedStyle(document.documentElement).fontSize));
    pen.font = `${size}px system-ui, sans-serif`;
    // The labels of the axis decide where it stands.
    const labels = [low, (low + top) / 2, top];
    const left = 12 + Math.max(...labels.map((v) => pen.measureText(vrft.number(v)).width));
    const bottom = size + 5, roof = Math.ceil(size / 2) + 1;
    const wide = width - left - 6, high = height - bottom - roof;
    const drawn = series.map((s) => ({
      ...s, points: vrft.columnsOf(s.steps, s.values, from, to, wide),
      lows: s.low && vrft.columnsOf(s.steps, s.low, from, to, wide),
      highs: s.high && vrft.columnsOf(s.steps, s.high, from, to, wide),
    }));
    const y = (value) => roof + high * (1 - (value - low) / (top - low));
    pen.fillStyle = style.getPropertyValue("--faint");
    pen.strokeStyle = style.getPropertyValue("--rule");
    pen.textAlign = "right";
    for (const value of labels) {
      pen.fillText(vrft.number(value), left - 5, y(value) + 4);
      pen.beginPath();
      pen.moveTo(left, y(value));
      pen.lineTo(width - 6, y(value));
      pen.stroke();
    }
    pen.textAlign = "left";
    pen.fillText(String(from), left, height - 2);
    pen.textAlign = "right";
    pen.fillText(String(to), width - 6, height - 2);
    const at = (step) => left + (to > from ? (step - from) / (to - from) * (wide - 1) : wide / 2);
    const upright = (x) => {
      pen.beginPath();
      pen.moveTo(x, roof);
      pen.lineTo(x, roof + high);
      pen.stroke();
    };
    for (const event of events) {
      if (event.step < from || event.step > to) continue;
      const [x, warning] = [at(event.step), event.kind === "warning"];
      pen.strokeStyle = pen.fillStyle = style.getPropertyValue(warning ? "--given" : "--accent");
      pen.setLineDash(warning ? [3, 3] : [8, 3]);
      upright(x);
      pen.beginPath();  // a triangle warns, a square is a change
      if (warning) [[x - 5, 0], [x + 5, 0], [x, 8]].forEach((point) => pen.lineTo(...point));
      else pen.rect(x - 4, 0, 8, 8);
      pen.fill();
    }
    pen.setLineDash([]);
    for (const s of drawn) {
      pen.fillStyle = pen.strokeStyle = s.colour;
      pen.globalAlpha = 0.22;
      pen.beginPath();  // the band over seeds, or the extremes within one column of pixels
      const tops = s.highs ?? s.points, lows = s.lows ?? s.points;
      tops.forEach((c) => pen.lineTo(left + c.x, y(c.high)));
      lows.toReversed().forEach((c) => pen.lineTo(left + c.x, y(c.low)));
      pen.fill();
      pen.globalAlpha = 1;
      pen.lineWidth = 1.6;
      pen.beginPath();
      s.points.forEach((c) => pen.lineTo(left + c.x, y(c.sum / c.count)));
      if (s.points.length === 1) pen.arc(left + s.points[0].x, y(s.points[0].low), 2, 0, 7);
      pen.stroke();
    }
    if (pointer === null) return;
    const step = Math.round(from + (to - from) * Math.min(1, Math.max(0, (pointer - left) / wide)));
    pen.strokeStyle = style.getPropertyValue("--faint");
    pen.lineWidth = 1;
    upright(at(step));
    const hit = events.filter((event) => Math.abs(at(event.step) - pointer) < 6);
    canvas.title = hit.map((event) => event.text).join("\n");
    const near = (s) => {
      const k = s.steps.findLastIndex((other) => other <= step);
      return k < 0 ? "–" : vrft.number(s.values[k]);
    };
    tell(`step ${step} `, near);
  };
  canvas.addEventListener("pointermove", (event) => draw(event.offsetX));
  canvas.addEventListener("pointerleave", () => {
    draw();
    rest();
  });
  // Drawn when it comes into sight, and again when its size changes.
  new ResizeObserver(() => draw()).observe(canvas);
  return figure;
};
