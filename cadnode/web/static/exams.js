// Exams: the dialogs of actions, the box that ticks all rows, and the key that leads to the search.
"use strict";

(() => {
  let opener = null;

  const settle = () => {
    const all = document.getElementById("all-rows");
    if (all) all.hidden = false;
  };
  const rows = () => document.querySelectorAll("#rows input[name=exam_id]");

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target.closest?.("dialog") === null) opener = document.activeElement;
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    const dialog = document.querySelector("#dialog-place > dialog");
    if (dialog && !dialog.open) dialog.showModal();
    settle();
    const summary = document.getElementById("summary");
    const announce = document.getElementById("announce");
    if (event.detail.target.id === "main" && summary && announce) {
      announce.textContent = summary.textContent.replace(/\s+/g, " ").trim();
    }
  });

  document.addEventListener("click", (event) => {
    if (event.target.matches?.("[data-close]")) event.target.closest("dialog")?.close();
  });
  // "close" does not bubble.
  document.addEventListener(
    "close",
    (event) => {
      const dialog = event.target;
      if (dialog.parentElement?.id !== "dialog-place") return;
      const done = "done" in dialog.dataset;
      dialog.remove();
      if (!done) {
        opener?.focus?.();
        return;
      }
      const refresh = document.getElementById("refresh");
      if (refresh && window.htmx) refresh.requestSubmit();
      else location.reload();
    },
    true,
  );

  document.addEventListener("change", (event) => {
    if (event.target.id === "all-rows") rows().forEach((row) => (row.checked = event.target.checked));
  });

  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches?.("input, textarea, select, [contenteditable]");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const box = document.getElementById("q");
    if (!box) return;
    event.preventDefault();
    box.focus();
    box.select();
  });

  settle();
})();
