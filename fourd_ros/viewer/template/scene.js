"use strict";
// The 3D view: which cloud, which robot pose, which paths; mouse, touch and keys.
const MODES = [["rgb", "camera colour"], ["label", "label"], ["sigma", "spread"]];
const PATH_COLOURS = [[0.86, 0.30, 0.22], [0.20, 0.56, 0.86], [0.20, 0.66, 0.34]];
const SIGMA_RAMP = ["rgb(41 107 158)", "rgb(242 204 77)", "rgb(199 36 61)"];
const POINT_SIZE = 0.011, PATH_SIZE = 0.007, TOOL_SIZE = 0.022, PATH_SPACING = 0.003;

function cssColour(rgb) { return `rgb(${rgb.map(c => Math.round(255 * c)).join(" ")})`; }

function setUpScene() {
  const canvas = document.getElementById("cloud"), { candidates, robot, low, size } = data.scene;
  const names = [...new Set(candidates.map(candidate => candidate.name))];
  const colourOf = future => PATH_COLOURS[names.indexOf(future.name) % PATH_COLOURS.length];
  choices("candidate", names.map(name => [name, name, cssColour(colourOf({ name }))]));
  choices("colour", MODES);
  choices("robot", robot.length ? [["mesh", "translucent shape"], ["points", "imagined points"]] : [["points", "imagined points"]]);
  if (!candidates.length) return () => {};
  const gl = renderer(canvas);
  if (!gl) {
    canvas.replaceWith("This browser offers no WebGL 2, which the 3D view needs.");
    return () => {};
  }
  const links = robot.map(gl.mesh);
  const futures = candidates.map(candidate => {
    const way = dense(floats(candidate.path), PATH_SPACING);
    return { ...candidate, way, path: gl.path(way), stops: gl.path(floats(candidate.stops)), clouds: candidate.clouds.map(() => null), packed: candidate.clouds, poses: floats(candidate.poses) };
  });
  const view = orbit(middleOf(futures.map(future => future.way)));
  const chosen = () => futures.find(isCurrent) ?? futures[0];

  const draw = () => {
    if (!canvas.clientWidth) return;
    const future = chosen(), index = step(future.times.length);
    future.clouds[index] ??= gl.cloud(future.packed[index]);
    gl.begin(view, backgroundOf(canvas));
    const mode = MODES.findIndex(([name]) => name === state.colour), mesh = state.robot === "mesh";
    gl.drawCloud(future.clouds[index], { low, size, mode, hideRobot: mesh, diameter: POINT_SIZE });
    for (const other of futures.filter(other => other.model === future.model)) {
      gl.drawPath(other.path, colourOf(other), other === future ? 1 : 0.25, other === future ? PATH_SIZE : PATH_SIZE / 2);
    }
    gl.drawPath(future.stops, colourOf(future), 1, TOOL_SIZE, index, 1);
    if (mesh) gl.drawRobot(links, future.poses.subarray(16 * links.length * index), 0.55);
    if (!playing()) document.documentElement.dataset.drawn = gl.drawnPixels();
  };
  let waiting = false;
  const redraw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  };
  const describe = () => {
    document.getElementById("candidate-description").textContent = chosen().description;
    showLegend(data.scene);
  };
  onChange(["t", "candidate", "model", "colour", "robot", "scheme", "play"], redraw);
  onChange(["candidate", "model", "colour"], describe);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new ResizeObserver(redraw).observe(canvas);
  steer(canvas, view, redraw);
  describe();
  return draw;
}

// A way with points at most `spacing` apart.
function dense(way, spacing) {
  const points = [...way.slice(0, 3)];
  for (let i = 3; i < way.length; i += 3) {
    const steps = [0, 1, 2].map(axis => way[i + axis] - way[i - 3 + axis]);
    const count = Math.max(1, Math.ceil(Math.hypot(...steps) / spacing));
    for (let n = 1; n <= count; n++) for (let axis = 0; axis < 3; axis++) points.push(way[i - 3 + axis] + steps[axis] * n / count);
  }
  return new Float32Array(points);
}

function middleOf(ways) {
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  for (const way of ways) way.forEach((value, i) => {
    low[i % 3] = Math.min(low[i % 3], value);
    high[i % 3] = Math.max(high[i % 3], value);
  });
  return low.map((value, i) => Number.isFinite(value) ? (value + high[i]) / 2 : 0);
}

function backgroundOf(element) {
  return getComputedStyle(element).backgroundColor.match(/[\d.]+/g).slice(0, 3).map(part => part / 255);
}

function showLegend(scene) {
  const box = document.getElementById("cloud-legend");
  box.classList.remove("ramp");
  box.replaceChildren();
  if (state.colour === "sigma") ramp(box, SIGMA_RAMP, "spread 0", `≥ ${scene.sigmaLimit.toFixed(0)} mm · grey: not known`);
  if (state.colour === "label") {
    for (const [label, name] of Object.entries(scene.labels)) {
      const row = document.createElement("div");
      row.append(swatch(labelCss(Number(label))), name);
      box.append(row);
    }
  }
}

// The same colours as labelColour() in the point shader.
function labelCss(label) {
  const fixed = { 0: [0.55, 0.55, 0.55], 1: [0.62, 0.65, 0.68], 2: [0.20, 0.47, 0.85] };
  const turn = ((label - 16) * 0.61803 + 0.06) % 1;
  return cssColour(fixed[label] ?? [0, 0.33, 0.67].map(phase => 0.55 + 0.42 * Math.cos(2 * Math.PI * (turn + phase))));
}

function steer(canvas, view, redraw) {
  const fingers = new Map();
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return { size: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
  };
  canvas.addEventListener("pointerdown", event => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  canvas.addEventListener("pointermove", event => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    const unit = 1 / canvas.clientHeight, before = fingers.size === 2 ? spread() : null;
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (before) {
      const after = spread();
      zoom(view, before.size / Math.max(after.size, 1));
      shift(view, (after.x - before.x) * unit, (before.y - after.y) * unit);
    } else {
      const right = (event.clientX - last.x) * unit, up = (last.y - event.clientY) * unit;
      if (event.shiftKey || event.buttons & 6) shift(view, right, up);
      else turn(view, right * 3, -up * 3);
    }
    redraw();
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, event => fingers.delete(event.pointerId));
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    zoom(view, Math.exp(event.deltaY * 0.001));
    redraw();
  }, { passive: false });
  canvas.addEventListener("dblclick", () => { resetOrbit(view); redraw(); });
  canvas.addEventListener("contextmenu", event => event.preventDefault());
  const keys = {
    ArrowLeft: () => turn(view, -0.1, 0), ArrowRight: () => turn(view, 0.1, 0),
    ArrowUp: () => turn(view, 0, 0.1), ArrowDown: () => turn(view, 0, -0.1),
    "+": () => zoom(view, 0.9), "=": () => zoom(view, 0.9), "-": () => zoom(view, 1.1), Home: () => resetOrbit(view),
  };
  canvas.addEventListener("keydown", event => {
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
    redraw();
  });
}
