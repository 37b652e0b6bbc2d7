"use strict";
// WebGL 2: quantised points, translucent link meshes and tool paths.
const POINT_BYTES = 12; // uint16 x y z, uint8 r g b label sigma padding
const OPENING = 0.42;

const POINT_VERTEX = `#version 300 es
in vec3 position; in vec3 rgb; in float label; in float sigma;
uniform mat4 clipFromWorld; uniform vec3 low, size; uniform float pixels, diameter; uniform int mode; uniform bool hideRobot;
out vec3 colour;
vec3 labelColour(float l) {
  if (l < 0.5) return vec3(0.55);
  if (l < 1.5) return vec3(0.62, 0.65, 0.68);
  if (l < 2.5) return vec3(0.20, 0.47, 0.85);
  float turn = fract((l - 16.0) * 0.61803 + 0.06);
  return 0.55 + 0.42 * cos(6.28318 * (turn + vec3(0.0, 0.33, 0.67)));
}
vec3 sigmaColour(float s) {
  if (s > 0.999) return vec3(0.5);
  vec3 a = vec3(0.16, 0.42, 0.62), b = vec3(0.95, 0.80, 0.30), c = vec3(0.78, 0.14, 0.24);
  return s < 0.5 ? mix(a, b, s * 2.0) : mix(b, c, s * 2.0 - 1.0);
}
void main() {
  gl_Position = clipFromWorld * vec4(low + position * size, 1.0);
  gl_PointSize = max(2.0, pixels * diameter / gl_Position.w);
  float light = 0.6 + 0.7 * dot(rgb, vec3(0.299, 0.587, 0.114)); // keeps shapes visible under flat colours
  colour = mode == 0 ? rgb : light * (mode == 1 ? labelColour(label) : sigmaColour(sigma));
  if (hideRobot && label == 2.0) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
}`;
const POINT_FRAGMENT = `#version 300 es
precision mediump float; in vec3 colour; out vec4 pixel;
void main() {
  vec2 d = gl_PointCoord - 0.5;
  if (dot(d, d) > 0.25) discard;
  pixel = vec4(colour, 1.0);
}`;
const MESH_VERTEX = `#version 300 es
in vec3 position; uniform mat4 clipFromWorld, worldFromLink; out vec3 world;
void main() { vec4 p = worldFromLink * vec4(position, 1.0); world = p.xyz; gl_Position = clipFromWorld * p; }`;
const MESH_FRAGMENT = `#version 300 es
precision highp float; in vec3 world; uniform vec3 colour; uniform float alpha; out vec4 pixel;
void main() {
  vec3 n = normalize(cross(dFdx(world), dFdy(world)));
  float light = 0.62 + 0.38 * abs(dot(n, normalize(vec3(0.35, -0.45, 0.82))));
  pixel = vec4(colour * light, alpha);
}`;
const PATH_VERTEX = `#version 300 es
in vec3 position; uniform mat4 clipFromWorld; uniform float pixels, diameter;
void main() { gl_Position = clipFromWorld * vec4(position, 1.0); gl_PointSize = max(2.5, pixels * diameter / gl_Position.w); }`;
const PATH_FRAGMENT = `#version 300 es
precision mediump float; uniform vec3 colour; uniform float alpha; out vec4 pixel;
void main() { vec2 d = gl_PointCoord - 0.5; if (dot(d, d) > 0.25) discard; pixel = vec4(colour, alpha); }`;

function program(gl, vertex, fragment) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made) || "shader failed");
  const places = new Map();
  const place = name => {
    if (!places.has(name)) places.set(name, gl.getUniformLocation(made, name));
    return places.get(name);
  };
  return { made, place };
}

// A vertex array over one buffer; attributes are [name, size, type, normalised, offset].
function vertices(gl, shader, content, stride, attributes) {
  const array = gl.createVertexArray();
  gl.bindVertexArray(array);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, content, gl.STATIC_DRAW);
  for (const [name, size, type, normalised, offset] of attributes) {
    const place = gl.getAttribLocation(shader.made, name);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, size, type, normalised, stride, offset);
  }
  return array;
}

function renderer(canvas) {
  const gl = canvas.getContext("webgl2", { alpha: false, antialias: true, preserveDrawingBuffer: true });
  if (!gl) return null;
  const points = program(gl, POINT_VERTEX, POINT_FRAGMENT);
  const meshes = program(gl, MESH_VERTEX, MESH_FRAGMENT);
  const paths = program(gl, PATH_VERTEX, PATH_FRAGMENT);
  gl.enable(gl.DEPTH_TEST);
  gl.depthFunc(gl.LEQUAL);
  gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
  let matrix, pixels;

  return {
    cloud(packed) {
      const content = bytes(packed.data);
      const array = vertices(gl, points, content, POINT_BYTES, [
        ["position", 3, gl.UNSIGNED_SHORT, true, 0], ["rgb", 3, gl.UNSIGNED_BYTE, true, 6],
        ["label", 1, gl.UNSIGNED_BYTE, false, 9], ["sigma", 1, gl.UNSIGNED_BYTE, true, 10],
      ]);
      return { array, count: packed.count };
    },
    mesh(packed) {
      return { array: vertices(gl, meshes, bytes(packed.data), 12, [["position", 3, gl.FLOAT, false, 0]]), count: packed.count, colour: packed.colour };
    },
    path(positions) {
      return { array: vertices(gl, paths, positions, 12, [["position", 3, gl.FLOAT, false, 0]]), count: positions.length / 3 };
    },
    begin(view, background) {
      const scale = window.devicePixelRatio || 1;
      const width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      gl.viewport(0, 0, width, height);
      gl.clearColor(...background, 1);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      matrix = clipFromWorld(view, width / height, OPENING);
      pixels = height / OPENING;
    },
    drawCloud(cloud, { low, size, mode, hideRobot, diameter }) {
      gl.useProgram(points.made);
      gl.uniformMatrix4fv(points.place("clipFromWorld"), false, matrix);
      gl.uniform3fv(points.place("low"), low);
      gl.uniform3fv(points.place("size"), size);
      gl.uniform1f(points.place("pixels"), pixels);
      gl.uniform1f(points.place("diameter"), diameter);
      gl.uniform1i(points.place("mode"), mode);
      gl.uniform1i(points.place("hideRobot"), hideRobot ? 1 : 0);
      gl.bindVertexArray(cloud.array);
      gl.drawArrays(gl.POINTS, 0, cloud.count);
    },
    drawPath(path, colour, alpha, diameter, first = 0, count = path.count) {
      gl.useProgram(paths.made);
      gl.uniformMatrix4fv(paths.place("clipFromWorld"), false, matrix);
      gl.uniform1f(paths.place("pixels"), pixels);
      gl.uniform1f(paths.place("diameter"), diameter);
      gl.uniform3fv(paths.place("colour"), colour);
      gl.uniform1f(paths.place("alpha"), alpha);
      gl.enable(gl.BLEND);
      gl.bindVertexArray(path.array);
      gl.drawArrays(gl.POINTS, first, count);
      gl.disable(gl.BLEND);
    },
    // The depth of all links first, so that only the nearest surface is blended, once.
    drawRobot(links, poses, alpha) {
      gl.useProgram(meshes.made);
      gl.uniformMatrix4fv(meshes.place("clipFromWorld"), false, matrix);
      gl.uniform1f(meshes.place("alpha"), alpha);
      const draw = () => links.forEach((link, i) => {
        gl.uniformMatrix4fv(meshes.place("worldFromLink"), false, poses.subarray(16 * i, 16 * i + 16));
        gl.uniform3fv(meshes.place("colour"), link.colour);
        gl.bindVertexArray(link.array);
        gl.drawArrays(gl.TRIANGLES, 0, link.count);
      });
      gl.colorMask(false, false, false, false);
      draw();
      gl.colorMask(true, true, true, true);
      gl.enable(gl.BLEND);
      draw();
      gl.disable(gl.BLEND);
    },
    drawnPixels() {
      const { width, height } = canvas, read = new Uint8Array(4 * width * height);
      gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, read);
      const empty = new Uint32Array(read.buffer, 0, 1)[0];
      return new Uint32Array(read.buffer).reduce((count, pixel) => count + (pixel !== empty ? 1 : 0), 0);
    },
  };
}
