// Says beside the button when the node itself could not be asked.
"use strict";

(() => {
  const say = (event, text) => {
    const target = event.detail.target;
    if (target && target.classList.contains("answer")) target.textContent = text;
  };
  document.addEventListener("htmx:sendError", (event) => {
    say(event, "This node does not answer: the console may be starting anew. Try again in a moment.");
  });
  document.addEventListener("htmx:responseError", (event) => {
    say(event, `This node could not ask it (HTTP ${event.detail.xhr.status}). Reload the page.`);
  });
})();
