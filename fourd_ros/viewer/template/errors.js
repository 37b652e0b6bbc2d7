"use strict";
// Counts script and loading errors where a test can read them; runs before everything else.
function countError() {
  const root = document.documentElement;
  root.dataset.errors = String(Number(root.dataset.errors) + 1);
}
window.addEventListener("error", countError, true);
window.addEventListener("unhandledrejection", countError);
