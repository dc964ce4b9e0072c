// The sampled drawings: a slider over the steps, a grid of drawings, and their replay.
const REPLAY_MS = 2000, PLAY_MS = 700;
const DOT = 4, LIFT = 14;  // what a dot and a lift of the pen count as, in the drawing's unit, in a replay

const drawings = {place: samples.length - 1, coloured: false, grid: make("div"), timer: null};

function pathOf(flat) {
  const points = [];
  for (let at = 0; at + 1 < flat.length; at += 2)
    if (Number.isFinite(flat[at]) && Number.isFinite(flat[at + 1])) points.push(`${flat[at]},${flat[at + 1]}`);
  // A dot is a line from its point to itself, which the round cap makes visible.
  if (points.length === 1) points.push(points[0]);
  return points.length ? `M${points.join("L")}` : "";
}

function drawing(strokes, label, caption, given) {
  const paths = (strokes || []).map(pathOf).filter(Boolean);
  const kind = given ? "drawing given" : "drawing";
  const cell = (content) => make("div", {class: "cell"}, content, make("small", {"aria-hidden": "true"}, caption));
  if (!paths.length)
    return cell(make("div", {class: kind, role: "img", "aria-label": `${label}: nothing drawn`}, make("em", {}, "nothing drawn")));
  // A little room around the box of 0 to 255, so that lines along its edge are seen whole.
  const svg = shape("svg", {viewBox: "-5 -5 265 265", "aria-hidden": "true"});
  paths.forEach((d, number) => {
    const path = shape("path", {d});
    if (drawings.coloured) path.style.stroke = `hsl(${Math.round(300 * number / Math.max(paths.length - 1, 1))} 78% var(--light))`;
    svg.append(path);
  });
  const name = `${label}: ${paths.length} ${paths.length === 1 ? "stroke" : "strokes"}. Click to replay`;
  const element = button("", () => replay(svg), {class: kind, "aria-label": name, title: name});
  element.append(svg);
  return cell(element);
}

function replay(svg) {
  // A second click starts anew: the frames of the first see another token and stop.
  const token = svg.token = {};
  const paths = [...svg.querySelectorAll("path")];
  const lengths = paths.map((path) => Math.max(path.getTotalLength(), DOT));
  const total = lengths.reduce((sum, length) => sum + length + LIFT, -LIFT);
  svg.querySelector("circle")?.remove();
  const pen = svg.appendChild(shape("circle", {r: 6}));
  const start = performance.now();
  function frame(now) {
    if (svg.token !== token) return;
    const done = Math.min(Math.max(now - start, 0) / REPLAY_MS, 1);
    let left = done * total;
    paths.forEach((path, number) => {
      const shown = Math.max(0, Math.min(left, lengths[number]));
      if (left >= 0) {
        const tip = path.getPointAtLength(shown);
        pen.setAttribute("cx", tip.x);
        pen.setAttribute("cy", tip.y);
      }
      path.style.visibility = shown > 0 ? "" : "hidden";
      path.style.strokeDasharray = shown >= lengths[number] ? "" : `${shown} ${lengths[number] + 9}`;
      left -= lengths[number] + LIFT;
    });
    if (done < 1) requestAnimationFrame(frame);
    else {
      pen.remove();
      for (const path of paths) path.style.visibility = path.style.strokeDasharray = "";
    }
  }
  requestAnimationFrame(frame);
}

function showGrid() {
  const blocks = [];
  for (const [seen, title] of [[true, "Seen classes"], [false, "Unseen classes (never trained on)"]]) {
    const group = samples[drawings.place].items.filter((item) => item && Boolean(item.seen) === seen);
    if (!group.length) continue;
    const block = make("div", {class: "items"});
    for (const item of group) {
      const drawn = item.samples || [], name = String(item.class ?? "");
      const row = make("div", {class: "item", role: "group", "aria-label": name, style: `--cells:${1 + drawn.length}`});
      row.append(drawing(item.input, `${name}, input`, "input", true));
      for (const one of drawn) row.append(drawing(one.strokes, `${name}, τ = ${one.temperature}`, `τ ${one.temperature}`, false));
      row.append(make("p", {}, name));
      block.append(row);
    }
    blocks.push(make("h3", {}, title), block);
  }
  const focused = [...drawings.grid.querySelectorAll("button")].indexOf(document.activeElement);
  drawings.grid.replaceChildren(...blocks);
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
