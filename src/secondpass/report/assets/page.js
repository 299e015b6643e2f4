"use strict";
// Comforts only: the page is whole without this script.

// The way of a passage is lit where the pointer or the focus is on one of its rows.
for (const duel of document.querySelectorAll(".duel")) {
  const drawing = duel.querySelector(".moves");
  const light = (event) => {
    const row = event.target.closest("li[data-before]");
    const way = event.target.closest(".move");
    const before = (row || way)?.dataset.before;
    drawing.classList.toggle("dim", before !== undefined);
    for (const each of duel.querySelectorAll("[data-before]")) {
      each.classList.toggle("lit", each.dataset.before === before);
    }
  };
  for (const kind of ["mouseover", "mouseleave", "focusin", "focusout"]) {
    duel.addEventListener(kind, kind === "focusout" ? () => light({ target: duel }) : light);
  }
}

// A list with a filter and orders.
for (const tools of document.querySelectorAll(".tools")) {
  const list = tools.parentElement;
  const entries = Array.from(list.children).filter((each) => each !== tools && each.dataset.place !== undefined);
  const [search, found] = [tools.querySelector("input"), tools.querySelector(".found")];
  const texts = entries.map((each) => each.querySelector("h2, .asked").textContent.toLowerCase());
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    entries.forEach((each, place) => {
      each.hidden = !words.every((word) => texts[place].includes(word));
      shown += each.hidden ? 0 : 1;
    });
    found.textContent = words.length ? `${shown} of ${entries.length}` : "";
  });
  for (const button of tools.querySelectorAll("[data-order]")) {
    button.addEventListener("click", () => {
      const key = button.dataset.order;
      const value = (entry) => (key[0] === "-" ? -entry.dataset[key.slice(1)] : +entry.dataset[key]);
      list.append(...[...entries].sort((one, other) => value(other) - value(one)));
      for (const each of tools.querySelectorAll("[data-order]")) {
        each.setAttribute("aria-pressed", String(each === button));
      }
    });
  }
  tools.hidden = false;
}

// Columns of a table, largest first, then smallest first.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const [heads, body] = [[...table.tHead.rows[0].cells], table.tBodies[0]];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") === "descending";
      for (const each of heads) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const compare = (one, other) => {
        const [first, second] = [parseFloat(value(one).replace(/[<>,]/g, "")), parseFloat(value(other).replace(/[<>,]/g, ""))];
        if (Number.isNaN(first) && Number.isNaN(second)) return value(other).localeCompare(value(one));
        return (Number.isNaN(second) ? -Infinity : second) - (Number.isNaN(first) ? -Infinity : first) || 0;
      };
      const rows = [...body.rows].sort(compare);
      body.append(...(ascending ? rows.reverse() : rows));
    });
  });
}

// What is folded is printed unfolded.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const each of opened) each.open = true;
});
addEventListener("afterprint", () => {
  for (const each of opened) each.open = false;
});

// A link to a hit that is folded away unfolds it.
const unfold = () => {
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  const folded = target && target.closest("details");
  if (folded) {
    folded.open = true;
    target.scrollIntoView();
  }
};
addEventListener("hashchange", unfold);
unfold();
