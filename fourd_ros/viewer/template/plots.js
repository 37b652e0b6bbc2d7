"use strict";
// Error plots as SVG: one figure per quantity of the chosen camera, with a cursor at the shown time.
const PLOT = { width: 320, height: 170, left: 38, right: 8, top: 10, bottom: 30 };
// Axes reach at least so far, by unit: noise shall not look like an error.
const LEAST_RANGE = { mm: 5 };

function svg(name, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function niceTicks(low, high, wanted) {
  const raw = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(raw));
  const size = [1, 2, 5, 10].map(m => m * power).find(s => s >= raw * 0.999);
  const ticks = [];
  for (let i = Math.ceil(low / size - 1e-9); i * size <= high + size * 1e-9; i++) ticks.push(Number((i * size).toPrecision(6)));
  return ticks;
}

function scales(plot) {
  const known = plot.curves.flatMap(c => [...c.estimate, ...c.high]).filter(v => v !== null);
  const top = Math.max(...known, LEAST_RANGE[plot.unit] ?? 1) * 1.06, right = plot.times[plot.times.length - 1];
  const left = Math.min(0, plot.times[0]);
  return {
    top, left, right,
    x: t => PLOT.left + (t - left) / (right - left) * (PLOT.width - PLOT.left - PLOT.right),
    y: v => PLOT.height - PLOT.bottom - v / top * (PLOT.height - PLOT.top - PLOT.bottom),
  };
}

// Runs of known values, so that a gap in the data is a gap in the line.
function runs(plot, values) {
  const found = [[]];
  plot.times.forEach((time, i) => {
    if (values[i] === null) found.push([]);
    else found[found.length - 1].push(i);
  });
  return found.filter(run => run.length);
}

function curvePath(plot, scale, values) {
  return runs(plot, values).map(run =>
    "M" + run.map(i => `${scale.x(plot.times[i]).toFixed(1)},${scale.y(values[i]).toFixed(1)}`).join("L")
    + (run.length === 1 ? "h.01" : "")).join("");
}

function bandPath(plot, scale, curve) {
  const at = (i, values) => `${scale.x(plot.times[i]).toFixed(1)},${scale.y(values[i]).toFixed(1)}`;
  return runs(plot, curve.low).map(run =>
    "M" + [...run.map(i => at(i, curve.high)), ...run.toReversed().map(i => at(i, curve.low))].join("L") + "Z").join("");
}

function axes(plot, scale) {
  const parts = [], base = PLOT.height - PLOT.bottom;
  for (const tick of niceTicks(0, scale.top, 4)) {
    const y = scale.y(tick);
    parts.push(svg("line", { class: "grid", x1: PLOT.left, x2: PLOT.width - PLOT.right, y1: y, y2: y }));
    parts.push(svg("text", { x: PLOT.left - 6, y: y + 4, "text-anchor": "end" }, tick));
  }
  for (const tick of niceTicks(scale.left, scale.right, 5)) {
    parts.push(svg("text", { x: scale.x(tick), y: base + 15, "text-anchor": "middle" }, tick));
  }
  const middle = (PLOT.left + PLOT.width - PLOT.right) / 2;
  parts.push(svg("text", { x: middle, y: PLOT.height - 2, "text-anchor": "middle" }, "horizon [s]"));
  return parts;
}

function plotFigure(plot) {
  const figure = document.createElement("figure");
  const title = document.createElement("h3"), now = document.createElement("p"), badge = document.createElement("span");
  badge.className = `badge ${plot.verdict.split(" ")[0]}`;
  badge.textContent = data.models.length > 1 ? `${data.models.at(-1)}: ${plot.verdict}` : plot.verdict;
  title.append(badge, plot.unit ? `${plot.title} [${plot.unit}]` : plot.title);
  now.className = "now";
  figure.append(title, now);

  if (!plot.curves.some(curve => curve.estimate.some(value => value !== null))) {
    now.textContent = "this camera saw none in these instants";
    return { figure, show: () => {} };
  }
  const scale = scales(plot), drawing = svg("svg", { viewBox: `0 0 ${PLOT.width} ${PLOT.height}`, role: "img", "aria-label": title.textContent });
  const cursor = svg("line", { class: "cursor", y1: PLOT.top, y2: PLOT.height - PLOT.bottom });
  drawing.append(...axes(plot, scale));
  for (const curve of plot.curves.toReversed()) {
    const style = `color: ${curveColour(curve)}`, role = isModel(curve) ? "" : " baseline";
    drawing.append(svg("path", { class: "band", style, d: bandPath(plot, scale, curve) }));
    drawing.append(svg("path", { class: `curve${role}`, style, d: curvePath(plot, scale, curve.estimate) }));
  }
  drawing.append(cursor);
  figure.append(drawing);
  const show = () => {
    const i = step(plot.times.length), x = scale.x(plot.times[i]);
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    const value = curve => curve.estimate[i] === null ? "–" : curve.estimate[i].toPrecision(3);
    now.textContent = `${seconds(plot.times)}: ${plot.curves.map(curve => `${curve.name} ${value(curve)}`).join(", ")}`;
  };
  return { figure, show };
}

function isModel(curve) { return data.models.includes(curve.name); }
function curveColour(curve) { return isModel(curve) ? modelColour(curve.name) : "var(--baseline)"; }

function key(text, colour, role) {
  const mark = document.createElement("span"), entry = document.createElement("span");
  mark.className = `key ${role}`;
  mark.style.color = colour;
  entry.append(mark, text);
  return entry;
}

function setUpPlots() {
  document.querySelector("#plots .legend").append(
    ...data.models.map(model => key(model, modelColour(model), "")),
    key("first frame repeated", "var(--baseline)", "baseline"),
    key("95 % interval over the instants", "var(--quiet)", "band"));
  const box = document.querySelector(".plots");
  let shown = [];
  const moveCursor = () => { for (const plot of shown) plot.show(); };
  const draw = () => {
    shown = data.plots.filter(plot => plot.view === state.view).map(plotFigure);
    box.replaceChildren(...shown.map(plot => plot.figure));
    moveCursor();
  };
  onChange(["view"], draw);
  onChange(["t"], moveCursor);
  draw();
}
