// The sampled drawings: a slider over the steps, and a grid of drawings.
const PLAY_MS = 700;
const drawings = {place: samples.length - 1, coloured: false, grid: make("div"), timer: null};

function showGrid() {
  const focused = [...drawings.grid.querySelectorAll("button")].indexOf(document.activeElement);
  drawings.grid.replaceChildren(...rowsOf(samples[drawings.place].items, drawings.coloured));
  // Stepping through the run with the arrow keys must not lose the drawing that one is at.
  if (focused >= 0) drawings.grid.querySelectorAll("button")[focused]?.focus({preventScroll: true});
}

function showDrawings() {
  const head = make("div", {class: "bar"}, make("h2", {}, "Sampled sketches"));
  page.append(head);
  if (!samples.length) {
    page.append(make("p", {class: "soft"}, "Nothing has been sampled yet."));
    return;
  }
  const last = samples.length - 1;
  const slider = make("input", {type: "range", id: "step", min: 0, max: last, value: last, "aria-label": "step of the samples"});
  const label = make("output", {for: "step"});
  const go = (place) => {
    drawings.place = Math.max(0, Math.min(last, place));
    const text = `step ${whole(samples[drawings.place].step)}`;
    slider.value = drawings.place;
    slider.setAttribute("aria-valuetext", text);
    label.textContent = text;
    showGrid();
  };
  const stop = () => { clearInterval(drawings.timer); drawings.timer = null; play.textContent = "Play through steps"; };
  const play = button("Play through steps", () => {
    if (drawings.timer) return stop();
    if (drawings.place === last) go(0);
    play.textContent = "Stop";
    drawings.timer = setInterval(() => { if (drawings.place >= last) stop(); else go(drawings.place + 1); }, PLAY_MS);
  });
  slider.addEventListener("input", () => { stop(); go(Number(slider.value)); });
  head.append(
    button("‹", () => go(drawings.place - 1), {"aria-label": "step before", title: "step before (←)"}),
    slider,
    button("›", () => go(drawings.place + 1), {"aria-label": "step after", title: "step after (→)"}),
    label, play,
    button("Replay all", () => drawings.grid.querySelectorAll("svg").forEach(replay)),
    button("Colour strokes", (pressed) => {
      drawings.coloured = !drawings.coloured;
      pressed.setAttribute("aria-pressed", drawings.coloured);
      showGrid();
    }, {"aria-pressed": "false"}),
  );
  page.append(make("p", {class: "hint"},
    "Shaded: what the model sees. Beside it, what it draws at each temperature τ. Click a drawing to watch it being drawn; ← and → change the step."));
  page.append(drawings.grid);
  go(last);
  document.addEventListener("keydown", (event) => {
    const elsewhere = event.target.closest?.("input, pre, .chart");
    if (elsewhere || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (event.key === "ArrowLeft") go(drawings.place - 1);
    if (event.key === "ArrowRight") go(drawings.place + 1);
  });
}
