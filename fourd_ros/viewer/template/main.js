"use strict";
// Puts the parts together; the page is ready when everything of the first state is drawn.
function setUpScheme() {
  const button = document.getElementById("scheme");
  const dark = () => state.scheme ? state.scheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const show = () => {
    document.documentElement.style.colorScheme = state.scheme || "";
    button.textContent = dark() ? "Light" : "Dark";
  };
  button.addEventListener("click", () => update({ scheme: dark() ? "light" : "dark" }));
  onChange(["scheme"], show);
  show();
}

// #section=scene shows that section alone, for a slide or a picture.
function showSection() {
  for (const part of document.querySelectorAll("body > header, main > section")) {
    part.hidden = state.section !== "" && part.id !== state.section;
  }
}

async function start() {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) state.play = "0";
  readFragment();
  setUpScheme();
  showSection();
  onChange(["section"], showSection);
  setUpModels();
  setUpLoop();
  setUpPlots();
  const drawScene = setUpScene();
  await drawFilms();
  drawScene();
  setUpPlayers();
  window.addEventListener("hashchange", () => {
    const before = { ...state };
    readFragment();
    const changed = { ...state };
    Object.assign(state, before);
    update(changed);
  });
  document.addEventListener("keydown", event => {
    if (event.key !== " " || event.target !== document.body) return;
    event.preventDefault();
    update({ play: playing() ? "0" : "1" });
  });
  document.documentElement.dataset.ready = "1";
}

start();
