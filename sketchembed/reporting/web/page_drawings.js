// Drawings made of strokes, and their replay. Coordinates are in a box from 0 to 255.
const REPLAY_MS = 2000;
const DOT = 4, LIFT = 14;  // lengths that count for a dot and for a pen lift in a replay

function pathOf(flat) {
  const points = [];
  for (let at = 0; at + 1 < flat.length; at += 2)
    if (Number.isFinite(flat[at]) && Number.isFinite(flat[at + 1])) points.push(`${flat[at]},${flat[at + 1]}`);
  // A dot is a line of length zero, which its round cap makes visible.
  if (points.length === 1) points.push(points[0]);
  return points.length ? `M${points.join("L")}` : "";
}

function cell(content, caption) {
  return make("div", {class: "cell"}, content, make("small", {"aria-hidden": "true"}, caption));
}

function drawing(strokes, label, caption, {given = false, coloured = false, colours = []} = {}) {
  const drawn = (strokes || []).map((stroke, at) => [pathOf(stroke), colours[at]]).filter(([d]) => d);
  const kind = given ? "drawing given" : "drawing";
  if (!drawn.length)
    return cell(make("div", {class: kind, role: "img", "aria-label": `${label}: empty`}, make("em", {}, "empty")), caption);
  // The margin shows lines along the edge of the box in full width.
  const svg = makeSvg("svg", {viewBox: "-5 -5 265 265", "aria-hidden": "true"});
  drawn.forEach(([d, colour], number) => {
    const path = makeSvg("path", {d});
    if (colour) path.style.stroke = colour;
    if (coloured) path.style.stroke = `hsl(${Math.round(300 * number / Math.max(drawn.length - 1, 1))} 78% var(--light))`;
    svg.append(path);
  });
  const name = `${label}: ${drawn.length} ${drawn.length === 1 ? "stroke" : "strokes"}. Click to replay`;
  const element = button("", () => replay(svg), {class: kind, "aria-label": name, title: name});
  // Given colours are chosen for white paper.
  if (colours.length) element.style.background = "#fff";
  element.append(svg);
  return cell(element, caption);
}

function replay(svg) {
  // A second click restarts the replay: the frames of the first find another token and stop.
  const token = svg.token = {};
  const paths = [...svg.querySelectorAll("path")];
  const lengths = paths.map((path) => Math.max(path.getTotalLength(), DOT));
  const total = lengths.reduce((sum, length) => sum + length + LIFT, -LIFT);
  svg.querySelector("circle")?.remove();
  const pen = svg.appendChild(makeSvg("circle", {r: 6}));
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
function replayAllButton(grid) {
  return button("Replay all", () => grid.querySelectorAll("svg").forEach(replay));
}

// Rows of drawings: each input with the samples of the model, seen and unseen classes in separate grids.
function itemGrids(items, coloured) {
  const groups = new Map();
  for (const item of items) {
    if (!item) continue;
    const title = item.seen === true ? "Seen classes" : item.seen === false ? "Unseen classes (never trained on)" : "";
    if (!groups.has(title)) groups.set(title, []);
    groups.get(title).push(item);
  }
  const cellsOf = (item) => (item.samples || []).length + (item.photo ? 2 : 1);
  return [...groups].sort().flatMap(([title, group]) => {
    const grid = make("div", {class: "items", style: `--most:${Math.max(...group.map(cellsOf))}`});
    for (const item of group) {
      const name = String(item.class ?? ""), given = item.photo ? "sketch" : "input";
      const row = make("div", {class: "item", role: "group", "aria-label": name, style: `--cells:${cellsOf(item)}`});
      if (item.photo) {
        const image = make("img", {src: item.photo, alt: `${name}, photo`});
        row.append(cell(make("div", {class: "drawing given"}, image), "photo"));
      }
      row.append(drawing(item.input, `${name}, ${given}`, given, {given: true, coloured}));
      for (const one of item.samples || []) {
        const label = one.label === undefined ? `τ = ${one.temperature}` : String(one.label);
        row.append(drawing(one.strokes, `${name}, ${label}`, label.replace("τ = ", "τ "), {coloured, colours: one.colours}));
      }
      row.append(make("p", {}, name));
      grid.append(row);
    }
    return title ? [make("h3", {}, title), grid] : [grid];
  });
}
