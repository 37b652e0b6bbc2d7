"use strict";
// Light or dark, as the system says until the reader chooses; #scheme=dark in the address chooses too.
function setUpScheme() {
  const root = document.documentElement;
  const button = document.getElementById("scheme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = new URLSearchParams(location.hash.slice(1)).get("scheme");
  const show = () => {
    const scheme = chosen || (system.matches ? "dark" : "light");
    root.dataset.scheme = root.style.colorScheme = scheme;
    button.textContent = scheme === "dark" ? "Light" : "Dark";
  };
  button.addEventListener("click", () => { chosen = root.dataset.scheme === "dark" ? "light" : "dark"; show(); });
  system.addEventListener("change", show);
  button.hidden = false;
  show();
}

// A click on the head of a column sorts by it, a second one the other way; what is not known stays at the end.
function setUpSorting(table) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].map(row => [row, row.cells[column].dataset.value ?? row.cells[column].textContent]);
      body.append(...sorted(rows, down ? -1 : 1).map(([row]) => row));
    });
  });
}

function sorted(rows, direction) {
  return rows.sort(([, a], [, b]) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const [x, y] = [Number(a), Number(b)];
    return direction * (Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y);
  });
}

setUpScheme();
for (const table of document.querySelectorAll("table")) setUpSorting(table);
document.documentElement.dataset.ready = "1";
