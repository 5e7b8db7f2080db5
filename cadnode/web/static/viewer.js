// The views of one exam: films as tiles, marks and patch scores over them, and the tools above.
"use strict";

// The part that refreshes itself leaves the history as open as the reader has it.
(() => {
  const history = () => document.querySelector("#exam-status .history");
  let open = false;
  let focused = false;
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.target.id !== "exam-status") return;
    open = Boolean(history()?.open);
    focused = Boolean(history()?.contains(document.activeElement));
  });
  document.addEventListener("htmx:afterSwap", () => {
    if (!history() || !open) return;
    history().open = true;
    if (focused) history().querySelector("summary").focus();
  });
})();

(() => {
  const source = document.getElementById("exam-data");
  const tools = document.getElementById("viewer-tools");
  if (!source || !tools || !window.OpenSeadragon) return;
  const exam = JSON.parse(source.textContent);
  const SVG = "http://www.w3.org/2000/svg";
  // A calcification is drawn once it is so many screen pixels across: before, it would be a speck.
  const VISIBLE_PX = 3;
  const RING_PX = 5;
  const WINDOWS = { file: [1, 1], wide: [0.65, 1], narrow: [1.8, 0.8] };
  const views = [];

  // OpenSeadragon adds a style of its own unless it finds an element of that name, which no page of
  // ours may; the rule stands in the stylesheet. This one is a style by its name only.
  const marker = document.createElementNS("urn:cadnode", "style");
  marker.setAttribute("data-openseadragon-mobile-css", "true");
  document.head.append(marker);

  const element = (name, attributes, parent) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (parent) parent.append(made);
    return made;
  };
  const choice = (name) => tools.elements[name];
  const checked = (name) => Boolean(choice(name)?.checked);

  // ---- what is shown ------------------------------------------------------------------------

  const operatingPoint = () => Number(choice("point")?.value ?? Infinity);

  function isShown(mark) {
    const which = choice("marks").value;
    if (which === "none") return false;
    return which === "all" || mark.point <= operatingPoint();
  }

  function saysPoint() {
    const says = document.getElementById("point-says");
    if (!says || !exam.points) return;
    const point = operatingPoint();
    const threshold = exam.points.thresholds[point];
    const recommended = point === exam.points.shown ? ", recommended" : "";
    says.value = `${point}: scores from ${threshold.toFixed(3)} on${recommended}`;
    choice("point").setAttribute("aria-valuetext", says.value);
  }

  const counted = (number) => `${number || "no"} mark${number === 1 ? "" : "s"}`;

  function showMarks() {
    let shown = 0;
    let all = 0;
    for (const view of views) {
      let here = 0;
      for (const mark of view.marks) {
        const visible = isShown(mark.value);
        mark.group.toggleAttribute("hidden", !visible);
        mark.group.style.display = visible ? "" : "none";
        mark.group.classList.toggle("optional", mark.value.point > (exam.points?.shown ?? 0));
        const row = document.querySelector(`[data-mark="${view.data.id}-${mark.value.number}"]`);
        row?.classList.toggle("not-shown", !visible);
        row?.querySelector("[data-shown]")?.replaceChildren(visible ? "shown" : "hidden");
        here += visible;
      }
      shown += here;
      all += view.marks.length;
      const count = view.figure.querySelector("[data-count]");
      if (count && view.data.read) count.textContent = view.marks.length ? `${counted(here)} of ${view.marks.length}` : "no marks";
    }
    document.getElementById("marks-shown").value = `${shown} of ${all} marks shown in this exam`;
    const slider = choice("point");
    if (slider) slider.disabled = choice("marks").value !== "point";
    saysPoint();
  }

  function showHeat() {
    const on = checked("heat");
    document.getElementById("heat-legend")?.toggleAttribute("hidden", !on);
    for (const view of views) {
      if (!view.data.heat) continue;
      if (on && !view.heat.hasAttribute("href")) view.heat.setAttribute("href", view.data.heat.url);
      view.heat.style.display = on ? "" : "none";
      if (!on) view.figure.querySelector("[data-score]").hidden = true;
    }
  }

  // The highest score of the patches under the pointer, while the heat map is shown.
  async function saysScore(view, event) {
    const says = view.figure.querySelector("[data-score]");
    if (!says || !view.data.heat || !checked("heat")) return;
    view.scores ??= fetch(view.data.heat.scores, { credentials: "same-origin" })
      .then((answer) => (answer.ok ? answer.json() : null));
    const scores = await view.scores;
    if (!scores) return;
    const frame = view.layer.getScreenCTM();
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(frame.inverse());
    const over = scores.probability.filter((_, index) => {
      const [left, top, right, bottom] = scores.boxes[index];
      return point.x >= left && point.x < right && point.y >= top && point.y < bottom;
    });
    says.hidden = !over.length;
    says.textContent = `patch score ${Math.max(...over).toFixed(3)}`;
  }

  function showWindow() {
    const contrast = Number(choice("contrast").value);
    const level = Number(choice("level").value);
    const inverted = checked("invert") ? " invert(1)" : "";
    for (const view of views) {
      const canvas = view.figure.querySelector(".openseadragon-canvas canvas");
      if (canvas) canvas.style.filter = `brightness(${level}) contrast(${contrast})${inverted}`;
    }
  }

  // ---- one view -----------------------------------------------------------------------------

  function tileSource(tiles) {
    return {
      width: tiles.width,
      height: tiles.height,
      tileSize: tiles.size,
      tileOverlap: tiles.overlap,
      minLevel: Math.min(8, tiles.levels),
      maxLevel: tiles.levels,
      // The deepest level is shown as it was received, the others only on the way there.
      getTileUrl: (level, x, y) =>
        `${tiles.url}${level}/${x}_${y}.${level === tiles.levels ? "png" : "jpg"}?v=${tiles.version}`,
    };
  }

  function drawMark(view, value) {
    const group = element("g", { class: "mark" }, view.layer);
    const title = element("title", {}, group);
    title.textContent = `Mark ${value.number}: score ${value.score.toFixed(3)}, operating point ${value.point}`;
    element("polygon", { points: value.outline.map((p) => p.join(",")).join(" ") }, group);
    const spots = element("g", { class: "spots" }, group);
    for (const [x, y] of value.spots) element("circle", { cx: x, cy: y }, spots);
    const label = element("text", {}, group);
    label.textContent = String(value.number);
    const [left, right] = [-1, 1].map((way) =>
      value.outline.reduce((found, point) => (way * point[0] > way * found[0] ? point : found)));
    return { value, group, spots, label, left, right };
  }

  // Rings around the calcifications, never so small that they would cover them.
  function placeSpots(mark, scale) {
    const biggest = Math.max(0, ...mark.value.spots.map((spot) => spot[2] * 2));
    const visible = checked("spots") && biggest * scale >= VISIBLE_PX;
    mark.spots.style.display = visible ? "" : "none";
    if (!visible) return;
    [...mark.spots.children].forEach((circle, index) =>
      circle.setAttribute("r", Math.max(mark.value.spots[index][2] * 1.6, RING_PX / scale)));
  }

  // Text is not mirrored, stays as large as it is on the screen, and stays on the film: beside the
  // corner of the outline that lies farthest out.
  function placeLabel(mark, scale, turned, width) {
    const room = 24 / scale;
    const fits = mark.right[0] + room < width;
    const beside = fits ? mark.right[0] + room / 4 : mark.left[0] - room;
    const x = turned ? beside + room / 2 : beside;
    const y = (fits ? mark.right : mark.left)[1];
    const mirror = turned ? -1 : 1;
    mark.label.setAttribute("transform",
      `translate(${x} ${y}) scale(${mirror / scale} ${1 / scale})`);
  }

  // Where the received pixel (x, y) lies in the view: received pixels are the layer's own units.
  function place(view) {
    const viewport = view.viewer.viewport;
    const item = view.viewer.world.getItemAt(0);
    if (!item) return;
    const zero = viewport.pixelFromPoint(item.imageToViewportCoordinates(0, 0), true);
    const end = viewport.pixelFromPoint(
      item.imageToViewportCoordinates(view.data.tiles.width, 0), true);
    const scale = (end.x - zero.x) / view.data.tiles.width;
    const width = view.viewer.container.clientWidth;
    const turned = viewport.getFlip();
    const shift = turned ? width - zero.x : zero.x;
    view.layer.setAttribute("transform",
      `translate(${shift} ${zero.y}) scale(${turned ? -scale : scale} ${scale})`);
    if (view.scale === scale && view.turned === turned) return;
    view.scale = scale;
    view.turned = turned;
    for (const mark of view.marks) {
      placeSpots(mark, scale);
      placeLabel(mark, scale, turned, view.data.tiles.width);
    }
    view.figure.dataset.scale = scale.toFixed(4);
  }

  function setFlip(view) {
    const turned = view.data.mirrored && checked("hung");
    view.viewer.viewport.setFlip(turned);
    view.figure.querySelector("[data-turned]")?.toggleAttribute("hidden", !turned);
    if (view.home) goHome(view, true);
    place(view);
  }

  async function saysWhy(view) {
    if (view.failed) return;
    view.failed = true;
    const answer = await fetch(view.data.why, { credentials: "same-origin" });
    if (answer.ok) {
      view.failed = false;
      return;
    }
    const said = await answer.json().catch(() => ({}));
    const text = document.createElement("p");
    text.className = "nothing";
    text.textContent = `No picture: ${said.detail ?? "the node did not answer"}`;
    view.film.replaceWith(text);
  }

  function open(figure, data) {
    const film = figure.querySelector("[data-film]");
    const viewer = OpenSeadragon({
      element: film,
      tileSources: tileSource(data.tiles),
      drawer: "canvas",
      showNavigationControl: false,
      visibilityRatio: 0.4,
      minZoomImageRatio: 0.8,
      maxZoomPixelRatio: 6,
      animationTime: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.5,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      imageLoaderLimit: 4,
      timeout: 120000,
      placeholderFillStyle: "#000",
    });
    const overlay = element("svg", { class: "overlay", "aria-hidden": "true" });
    viewer.canvas.append(overlay);
    viewer.canvas.setAttribute("role", "group");
    viewer.canvas.setAttribute("aria-label",
      `${data.name}: film with marks. Arrow keys move it, plus and minus zoom.`);
    const layer = element("g", {}, overlay);
    const view = { figure, film, data, viewer, layer, marks: [], failed: false };
    view.heat = element("image", { class: "heat", preserveAspectRatio: "none", x: 0, y: 0 }, layer);
    if (data.heat) {
      view.heat.setAttribute("width", data.heat.width);
      view.heat.setAttribute("height", data.heat.height);
    }
    view.heat.style.display = "none";
    view.marks = data.marks.map((mark) => drawMark(view, mark));
    viewer.addHandler("open", () => { setFlip(view); goHome(view, true); showWindow(); });
    viewer.addHandler("resize", () => { if (view.home && isVisible(view)) requestAnimationFrame(() => goHome(view, true)); });
    for (const event of ["update-viewport", "resize", "flip"]) viewer.addHandler(event, () => place(view));
    // The wheel moves the page until a film was clicked, then it zooms.
    viewer.addHandler("canvas-scroll", (event) => {
      const meant = event.originalEvent.ctrlKey || film.contains(document.activeElement);
      if (meant) return;
      event.preventDefaultAction = true;
      event.preventDefault = false;
    });
    film.addEventListener("pointermove", (event) => saysScore(view, event));
    viewer.addHandler("tile-load-failed", () => saysWhy(view));
    viewer.addHandler("tile-drawn", () => { figure.dataset.drawn = "yes"; });
    for (const event of ["zoom", "pan"]) viewer.addHandler(event, () => { view.home = leading && view.home; follow(view); });
    views.push(view);
    return view;
  }

  // ---- all views together -------------------------------------------------------------------

  // The chest wall of a right breast is on the right side of its film as it was hung.
  const wallIsRight = (view) => (view.data.side === "R") !== (view.data.mirrored && !checked("hung"));

  const isVisible = (view) => view.film.clientWidth > 0 && view.viewer.world.getItemCount() > 0;

  let leading = false;
  function follow(view) {
    if (!checked("together") || leading || !isVisible(view)) return;
    leading = true;
    const viewport = view.viewer.viewport;
    const center = viewport.getCenter();
    // In the units of a viewport a film is 1 wide; its columns run as they were received.
    const fromWall = onScreen(view, center.x);
    const ratio = viewport.getZoom() / viewport.getHomeZoom();
    for (const other of views) {
      if (other === view || !isVisible(other)) continue;
      const its = other.viewer.viewport;
      const height = center.y / (view.data.tiles.height / view.data.tiles.width);
      const point = new OpenSeadragon.Point(
        offScreen(other, fromWall), height * (other.data.tiles.height / other.data.tiles.width));
      its.zoomTo(its.getHomeZoom() * ratio, null, false);
      its.panTo(point, false);
    }
    leading = false;
  }
  // A distance from the chest wall, as a share of the film's width, and back.
  const receivedRight = (view) => wallIsRight(view) !== view.viewer.viewport.getFlip();
  const onScreen = (view, x) => (receivedRight(view) ? 1 - x : x);
  const offScreen = (view, share) => (receivedRight(view) ? 1 - share : share);

  // The whole film, its chest wall at the side where the other breast hangs.
  function goHome(view, immediately) {
    const viewport = view.viewer.viewport;
    const bounds = viewport.getHomeBounds();
    const hung = !view.figure.classList.contains("alone");
    if (hung && bounds.width > 1) bounds.x = receivedRight(view) ? 1 - bounds.width : 0;
    const before = leading;
    leading = true;
    view.home = true;
    viewport.fitBounds(bounds, immediately);
    leading = before;
    place(view);
  }

  // The middle of what is seen of the film, not of the black beside it.
  function middle(view) {
    const bounds = view.viewer.viewport.getBounds();
    const height = view.data.tiles.height / view.data.tiles.width;
    const between = (low, high, most) => (Math.max(low, 0) + Math.min(high, most)) / 2;
    return new OpenSeadragon.Point(
      between(bounds.x, bounds.x + bounds.width, 1),
      between(bounds.y, bounds.y + bounds.height, height));
  }

  const fit = (which) => which.forEach((view) => goHome(view, false));

  function alone(view, button) {
    const on = !view.figure.classList.contains("alone");
    for (const other of document.querySelectorAll(".view.alone")) {
      other.classList.remove("alone");
      other.querySelector('[data-do="large"]')?.setAttribute("aria-pressed", "false");
    }
    view.figure.classList.toggle("alone", on);
    view.figure.parentElement.classList.toggle("one-alone", on);
    button.setAttribute("aria-pressed", String(on));
    requestAnimationFrame(() => views.filter(isVisible).forEach((one) => {
      one.viewer.forceResize();
      place(one);
    }));
  }

  function showMark(view, number) {
    const mark = view.marks.find((one) => one.value.number === number);
    if (!mark) return;
    if (!isShown(mark.value)) {
      choice("marks").value = "all";
      showMarks();
    }
    const xs = mark.value.outline.map((p) => p[0]);
    const ys = mark.value.outline.map((p) => p[1]);
    const size = Math.max(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys)) * 2;
    const rectangle = view.viewer.viewport.imageToViewportRectangle(
      mark.value.center[0] - size / 2, mark.value.center[1] - size / 2, size, size);
    leading = true;
    view.home = false;
    view.viewer.viewport.fitBounds(rectangle);
    leading = false;
    view.figure.scrollIntoView({ block: "center" });
    view.viewer.canvas.focus({ preventScroll: true });
  }

  // ---- begin --------------------------------------------------------------------------------

  for (const data of exam.images) {
    const figure = document.querySelector(`.view[data-image="${data.id}"]`);
    if (figure?.querySelector("[data-film]")) open(figure, data);
  }

  tools.addEventListener("input", (event) => {
    const name = event.target.name;
    if (name === "preset") {
      const [contrast, level] = WINDOWS[event.target.value];
      choice("contrast").value = contrast;
      choice("level").value = level;
    }
    if (["preset", "contrast", "level", "invert"].includes(name)) showWindow();
    if (["marks", "point"].includes(name)) showMarks();
    if (name === "heat") showHeat();
    if (name === "spots") views.forEach((view) => { view.scale = null; place(view); });
    if (name === "hung") views.forEach(setFlip);
  });
  tools.addEventListener("reset", () => {
    // The fields have their first values only after this event.
    setTimeout(() => {
      showMarks();
      showHeat();
      showWindow();
      views.forEach(setFlip);
      fit(views);
    });
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    if (!button) return;
    const id = Number(button.dataset.image ?? button.closest(".view")?.dataset.image);
    const view = views.find((one) => one.data.id === id);
    const what = button.dataset.do;
    if (what === "fit") fit(views);
    if (!view) return;
    if (what === "in") view.viewer.viewport.zoomBy(1.6, middle(view));
    if (what === "out") view.viewer.viewport.zoomBy(1 / 1.6, middle(view));
    if (what === "fit-one") fit([view]);
    if (what === "large") alone(view, button);
    if (what === "show") showMark(view, Number(button.dataset.number));
  });

  // The part that refreshes itself tells when the views are no longer what the node has.
  const before = document.getElementById("exam-status")?.dataset.pictures;
  document.body.addEventListener("htmx:afterSettle", () => {
    const now = document.getElementById("exam-status")?.dataset.pictures;
    if (now !== before) document.getElementById("viewer-stale")?.removeAttribute("hidden");
  });

  showMarks();
  showHeat();
  showWindow();
})();
