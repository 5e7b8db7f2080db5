// Opens and closes all of a content tree at once.
"use strict";

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-tree]");
  if (!button) return;
  for (const branch of button.closest(".tree").querySelectorAll(".content-tree details")) {
    branch.open = button.dataset.tree === "open";
  }
});
