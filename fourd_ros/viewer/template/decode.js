"use strict";
// The data of the page, and how its binary parts are read.
const data = JSON.parse(document.getElementById("data").textContent);

function bytes(text) {
  const binary = atob(text);
  const array = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) array[i] = binary.charCodeAt(i);
  return array;
}

function floats(text) { return new Float32Array(bytes(text).buffer); }

const images = new Map();
function image(source) {
  if (!images.has(source)) {
    const element = new Image();
    element.src = source;
    images.set(source, element.decode().then(() => element));
  }
  return images.get(source);
}

function ramp(element, colours, low, high) {
  const bar = document.createElement("i");
  bar.style.background = `linear-gradient(90deg, ${colours.join(",")})`;
  element.replaceChildren(low, bar, high);
  element.classList.add("ramp");
}

// Steps of every clip and candidate, on one shared time axis.
const steps = Math.max(1, ...data.clips.map(c => c.times.length), ...data.scene.candidates.map(c => c.times.length));
function step(count) { return Math.max(0, Math.min(Math.trunc(Number(state.t)) || 0, count - 1)); }
function isCurrent(candidate) { return candidate.name === state.candidate && candidate.model === state.model; }
function currentCandidate() { return data.scene.candidates.find(isCurrent) ?? data.scene.candidates[0]; }
function seconds(times) { return times.length ? `+${times[step(times.length)].toFixed(2)} s` : ""; }
