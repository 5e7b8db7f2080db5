// Refreshes the page of the day: while it is looked at, and while nothing in it is being read.
"use strict";

(() => {
  const part = document.getElementById("today");
  const announce = document.getElementById("announce");
  if (!part || !window.htmx) return;
  const every = Number(part.dataset.refreshSeconds) * 1000;

  const said = () => part.querySelector("[data-said]")?.dataset.said ?? "";
  let before = said();
  let open = false;

  const refresh = () => {
    if (!document.hidden) htmx.trigger(part, "cadnode:refresh");
  };
  const settle = () => {
    part.querySelector(".refreshes")?.removeAttribute("hidden");
    const table = part.querySelector("#hours-table");
    if (table) table.open = open;
  };

  part.addEventListener("htmx:beforeSwap", () => {
    open = part.querySelector("#hours-table")?.open ?? false;
  });
  part.addEventListener("htmx:afterSwap", () => {
    settle();
    // Only what is new is read aloud.
    const now = said();
    if (now !== before && announce) announce.textContent = now;
    before = now;
  });
  part.addEventListener("click", (event) => {
    if (event.target.id === "today-refresh") {
      event.preventDefault();
      refresh();
    }
  });
  document.addEventListener("visibilitychange", refresh);
  settle();
  setInterval(refresh, every);
})();
