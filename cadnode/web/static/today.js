// Refreshes the page of the day while it is looked at, and says aloud only what is new.
"use strict";

(() => {
  const part = document.getElementById("today");
  const stale = document.getElementById("today-stale");
  const announce = document.getElementById("announce");
  if (!part || !stale || !announce || !window.htmx) return;

  const table = () => part.querySelector("#hours-table");
  const said = () => part.querySelector("[data-said]")?.dataset.said ?? "";
  let before = said();
  let open = false;

  const refresh = () => {
    if (!document.hidden) htmx.trigger(part, "cadnode:refresh");
  };
  const settle = () => {
    part.querySelector(".refreshes")?.removeAttribute("hidden");
    if (table()) table().open = open;
  };
  const lost = () => {
    if (!stale.hidden) return;
    stale.hidden = false;
    announce.textContent = "The console does not answer.";
    before = "";
  };

  part.addEventListener("htmx:beforeSwap", () => {
    open = table()?.open ?? false;
  });
  part.addEventListener("htmx:afterSwap", () => {
    settle();
    stale.hidden = true;
    if (said() !== before) announce.textContent = said();
    before = said();
  });
  part.addEventListener("htmx:sendError", lost);
  part.addEventListener("htmx:responseError", lost);
  part.addEventListener("click", (event) => {
    if (event.target.id === "today-refresh") {
      event.preventDefault();
      refresh();
    }
  });
  document.addEventListener("visibilitychange", refresh);
  settle();
  setInterval(refresh, Number(part.dataset.refreshSeconds) * 1000);
})();
