"use strict";
// What is shown. The URL fragment holds it, so every state has a link: #candidate=grasp&t=8&view=front
const state = { view: "", instant: "0", t: "0", candidate: "", model: "", colour: "rgb", robot: "mesh", play: "1", scheme: "", section: "" };
const listeners = [];

function readFragment() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(state)) if (given.has(name)) state[name] = given.get(name);
}

function writeFragment() {
  const kept = Object.entries(state).filter(([name, value]) => value !== "" && !(name === "t" && playing()));
  history.replaceState(null, "", "#" + new URLSearchParams(kept));
}

function playing() { return state.play === "1"; }

function update(changes) {
  const changed = Object.keys(changes).filter(name => state[name] !== String(changes[name]));
  if (!changed.length) return;
  for (const name of changed) state[name] = String(changes[name]);
  if (!(playing() && changed.length === 1 && changed[0] === "t")) writeFragment();
  for (const listener of listeners) listener(changed);
}

function onChange(names, listener) {
  listeners.push(changed => { if (changed.some(name => names.includes(name))) listener(); });
}

// Rows of radio buttons bound to one entry of the state, wherever the page has a place for them; options are
// [value, label, colour or undefined]. Nothing to choose from is not shown.
function choices(name, options) {
  if (!options.some(([value]) => value === state[name])) state[name] = options.length ? options[0][0] : "";
  const inputs = [...document.querySelectorAll(`.choices[data-state=${name}]`)].flatMap((fieldset, row) => {
    fieldset.hidden = options.length < 2;
    return options.map(option => choice(fieldset, name, `${name}-${row}`, option));
  });
  const show = () => { for (const input of inputs) input.checked = input.value === state[name]; };
  onChange([name], show);
  show();
}

function choice(fieldset, name, group, [value, label, colour]) {
  const input = Object.assign(document.createElement("input"), { type: "radio", name: group, value });
  const text = document.createElement("span"), box = document.createElement("label");
  if (colour) text.append(swatch(colour));
  text.append(label);
  box.append(input, text);
  fieldset.append(box);
  input.addEventListener("change", () => update({ [name]: value }));
  return input;
}

function swatch(colour) {
  const dot = document.createElement("i");
  dot.className = "swatch";
  dot.style.background = colour;
  return dot;
}
