"use strict";
// An orbiting camera; matrices are column-major as WebGL takes them, z is up.
const HOME = { azimuth: -0.85, elevation: 0.5, distance: 1.2 };

function orbit(target) { return { ...HOME, target: [...target], home: target }; }

function resetOrbit(view) { Object.assign(view, HOME, { target: [...view.home] }); }

function turn(view, right, up) {
  view.azimuth -= right;
  view.elevation = Math.max(-1.5, Math.min(1.5, view.elevation + up));
}

function zoom(view, factor) { view.distance = Math.max(0.1, Math.min(8, view.distance * factor)); }

function shift(view, right, up) {
  const { x, y } = axesOf(view);
  for (let i = 0; i < 3; i++) view.target[i] -= (right * x[i] + up * y[i]) * view.distance;
}

function axesOf(view) {
  const [ca, sa, ce, se] = [Math.cos(view.azimuth), Math.sin(view.azimuth), Math.cos(view.elevation), Math.sin(view.elevation)];
  return { x: [-sa, ca, 0], y: [-se * ca, -se * sa, ce], z: [ce * ca, ce * sa, se] };
}

// World to clip space, with a vertical opening of 2 * atan(slope).
function clipFromWorld(view, aspect, slope) {
  const { x, y, z } = axesOf(view);
  const dot = a => a[0] * view.target[0] + a[1] * view.target[1] + a[2] * view.target[2];
  const near = view.distance * 0.02, far = view.distance * 20;
  const a = 1 / (slope * aspect), b = 1 / slope, c = (far + near) / (near - far), d = 2 * far * near / (near - far);
  const depth = -dot(z) - view.distance;
  return new Float32Array([
    a * x[0], b * y[0], c * z[0], -z[0],
    a * x[1], b * y[1], c * z[1], -z[1],
    a * x[2], b * y[2], c * z[2], -z[2],
    -a * dot(x), -b * dot(y), c * depth + d, -depth,
  ]);
}
