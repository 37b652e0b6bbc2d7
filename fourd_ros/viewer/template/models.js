"use strict";
// The world models that are compared, quickest first: which one is looked at, and what colour each has.
function modelColour(model) {
  const rank = data.models.length - 1 - data.models.indexOf(model);
  return `var(--model-${Math.min(rank, 3)})`;
}

function setUpModels() {
  if (!data.models.includes(state.model)) state.model = data.models.at(-1);
  choices("model", data.models.map(model => [model, model, modelColour(model)]));
  const show = () => {
    for (const part of document.querySelectorAll("[data-model]")) part.hidden = part.dataset.model !== state.model;
  };
  onChange(["model"], show);
  show();
}
