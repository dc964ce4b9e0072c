// The sampled drawings, with a slider over the training steps.
const PLAY_MS = 700;
const drawings = {place: samples.length - 1, coloured: false, grid: make("div"), timer: null};

function showGrid() {
  const focused = [...drawings.grid.querySelectorAll("button")].indexOf(document.activeElement);
  drawings.grid.replaceChildren(...itemGrids(samples[drawings.place].items, drawings.coloured));
  // Keep the focus on the same drawing at every step.
  if (focused >= 0) drawings.grid.querySelectorAll("button")[focused]?.focus({preventScroll: true});
}

function showDrawings() {
  const draws = facts.kind === undefined || facts.kind === "sketchembednet";
  if (!samples.length && !draws) return;
  const head = make("div", {class: "bar"}, make("h2", {}, "Sampled sketches"));
  page.append(head);
  if (!samples.length) {
    page.append(make("p", {class: "soft"}, "No samples yet."));
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
  const stop = () => { clearInterval(drawings.timer); drawings.timer = null; play.textContent = "Play steps"; };
  const play = button("Play steps", () => {
    if (drawings.timer) return stop();
    if (drawings.place === last) go(0);
    play.textContent = "Stop";
    drawings.timer = setInterval(() => { if (drawings.place >= last) stop(); else go(drawings.place + 1); }, PLAY_MS);
  });
  slider.addEventListener("input", () => { stop(); go(Number(slider.value)); });
  head.append(
    button("‹", () => go(drawings.place - 1), {"aria-label": "previous step", title: "previous step (←)"}),
    slider,
    button("›", () => go(drawings.place + 1), {"aria-label": "next step", title: "next step (→)"}),
    label, play, replayAllButton(drawings.grid),
    toggle("Colour strokes", (on) => { drawings.coloured = on; showGrid(); }),
  );
  page.append(make("p", {class: "hint"},
    "Shaded: input of the model. Next to it: one sample per temperature τ. Click a drawing to replay it. Press ← or → to change the step."));
  page.append(drawings.grid);
  go(last);
  document.addEventListener("keydown", (event) => {
    const elsewhere = event.target.closest?.("input, pre, .chart");
    if (elsewhere || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (event.key === "ArrowLeft") go(drawings.place - 1);
    if (event.key === "ArrowRight") go(drawings.place + 1);
  });
}

showFacts();
showNonFinite();
showCurves();
showDrawings();
showConfig();
root.dataset.ready = "yes";
