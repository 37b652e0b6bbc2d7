"use strict";
// The loop "what happened | imagined by each model, with its error" and the players below it and below the 3D view.
const STEP_SECONDS = 0.2;
const PAUSE_AT_END = 3;

function currentClip() {
  const clips = data.clips.filter(clip => clip.view === state.view);
  return clips[Math.max(0, Math.min(Math.trunc(Number(state.instant)) || 0, clips.length - 1))];
}

// Canvases of the loop, and which film of a clip each of them shows.
const screens = [{ canvas: document.querySelector("canvas[data-film=recorded]"), film: films => films.recorded }];

async function drawFilms() {
  const clip = currentClip();
  if (!clip) return;
  const index = step(clip.times.length), films = screens.map(screen => screen.film(clip.films));
  const sheets = await Promise.all(films.map(film => image(film.src)));
  if (clip !== currentClip()) return;
  screens.forEach((screen, i) => drawFrame(screen.canvas, films[i], sheets[i], index));
}

function modelFigure(model) {
  const figure = document.createElement("figure"), caption = document.createElement("figcaption");
  caption.append(swatch(modelColour(model)), model);
  figure.append(caption);
  for (const [kind, label] of [["imagined", `Frame imagined by ${model}`], ["error", `Depth error of ${model}`]]) {
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", label);
    figure.append(canvas);
    screens.push({ canvas, film: films => films[kind][model] });
  }
  return figure;
}

function drawFrame(canvas, film, sheet, index) {
  const { width, height, columns } = film;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const left = (index % columns) * width, top = Math.floor(index / columns) * height;
  canvas.getContext("2d").drawImage(sheet, left, top, width, height, 0, 0, width, height);
}

function setUpLoop() {
  const views = [...new Set(data.clips.map(clip => clip.view))];
  choices("view", views.map(view => [view, view]));
  const instants = data.clips.filter(clip => clip.view === state.view).map((clip, i) => [String(i), clip.instant]);
  choices("instant", instants);
  const scale = data.errorScale;
  ramp(document.getElementById("error-legend"), scale.colours, "depth off: 0", `≥ ${scale.limit.toFixed(0)} mm`);
  document.querySelector(".films").append(...data.models.map(modelFigure));
  onChange(["view", "instant", "t"], drawFilms);
}

function setUpPlayers() {
  document.querySelector("#loop .player").append(...player(() => currentClip()?.times ?? []));
  document.querySelector("#scene .player").append(...player(() => currentCandidate()?.times ?? []));
  let held = 0;
  setInterval(() => {
    if (!playing() || document.hidden) return;
    const last = step(steps) === steps - 1;
    held = last ? held + 1 : 0;
    if (!last) update({ t: step(steps) + 1 });
    else if (held > PAUSE_AT_END) update({ t: 0 });
  }, STEP_SECONDS * 1000);
}

// A button, a slider and the time for what has frames at `times()`.
function player(times) {
  const button = Object.assign(document.createElement("button"), { type: "button" });
  const slider = Object.assign(document.createElement("input"), { type: "range", min: 0, step: 1 });
  const output = document.createElement("output");
  slider.setAttribute("aria-label", "Time from the observation");
  button.addEventListener("click", () => update({ play: playing() ? "0" : "1" }));
  slider.addEventListener("input", () => update({ t: slider.value, play: "0" }));
  const show = () => {
    const shown = times();
    button.textContent = playing() ? "Pause" : "Play";
    slider.max = Math.max(0, shown.length - 1);
    slider.value = step(shown.length);
    output.textContent = seconds(shown);
    slider.setAttribute("aria-valuetext", output.textContent);
  };
  onChange(["t", "play", "view", "instant", "candidate", "model"], show);
  show();
  return [button, slider, output];
}
