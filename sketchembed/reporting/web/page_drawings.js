// Drawings as strokes, and their replay.
const REPLAY_MS = 2000;
const DOT = 4, LIFT = 14;  // what a dot and a lift of the pen count as, in the drawing's unit, in a replay

function pathOf(flat) {
  const points = [];
  for (let at = 0; at + 1 < flat.length; at += 2)
    if (Number.isFinite(flat[at]) && Number.isFinite(flat[at + 1])) points.push(`${flat[at]},${flat[at + 1]}`);
  // A dot is a line from its point to itself, which the round cap makes visible.
  if (points.length === 1) points.push(points[0]);
  return points.length ? `M${points.join("L")}` : "";
}

// Colours are those of the strokes, where they have any.
function drawing(strokes, label, caption, given, coloured, colours = []) {
  const drawn = (strokes || []).map((stroke, at) => [pathOf(stroke), colours[at]]).filter(([d]) => d);
  const paths = drawn.map(([d]) => d);
  const kind = given ? "drawing given" : "drawing";
  const cell = (content) => make("div", {class: "cell"}, content, make("small", {"aria-hidden": "true"}, caption));
  if (!paths.length)
    return cell(make("div", {class: kind, role: "img", "aria-label": `${label}: nothing drawn`}, make("em", {}, "nothing drawn")));
  // A little room around the box of 0 to 255, so that lines along its edge are seen whole.
  const svg = shape("svg", {viewBox: "-5 -5 265 265", "aria-hidden": "true"});
  paths.forEach((d, number) => {
    const path = shape("path", {d});
    if (drawn[number][1]) path.style.stroke = drawn[number][1];
    if (coloured) path.style.stroke = `hsl(${Math.round(300 * number / Math.max(paths.length - 1, 1))} 78% var(--light))`;
    svg.append(path);
  });
  const name = `${label}: ${paths.length} ${paths.length === 1 ? "stroke" : "strokes"}. Click to replay`;
  const element = button("", () => replay(svg), {class: kind, "aria-label": name, title: name});
  // Colours of their own are chosen for white paper.
  if (colours.length) element.style.background = "#fff";
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

function photo(link, label) {
  const image = make("img", {src: link, alt: label});
  return make("div", {class: "cell"}, make("div", {class: "drawing given"}, image), make("small", {"aria-hidden": "true"}, "photo"));
}

// The drawings in rows: each input, and beside it what was drawn of it.
function rowsOf(items, coloured) {
  const groups = new Map();
  for (const item of items) {
    if (!item) continue;
    const title = item.seen === true ? "Seen classes" : item.seen === false ? "Unseen classes (never trained on)" : "";
    if (!groups.has(title)) groups.set(title, []);
    groups.get(title).push(item);
  }
  const blocks = [];
  for (const [title, group] of [...groups].sort()) {
    const cells = (item) => (item.samples || []).length + (item.photo ? 2 : 1);
    const most = Math.max(...group.map(cells));
    const block = make("div", {class: "items", style: `--most:${most}`});
    for (const item of group) {
      const drawn = item.samples || [], name = String(item.class ?? "");
      const row = make("div", {class: "item", role: "group", "aria-label": name, style: `--cells:${cells(item)}`});
      if (item.photo) row.append(photo(item.photo, `${name}, photo`));
      const given = item.photo ? "sketch" : "input";
      row.append(drawing(item.input, `${name}, ${given}`, given, true, coloured));
      for (const one of drawn) {
        const label = one.label === undefined ? `τ = ${one.temperature}` : String(one.label);
        row.append(drawing(one.strokes, `${name}, ${label}`, label.replace("τ = ", "τ "), false, coloured, one.colours));
      }
      row.append(make("p", {}, name));
      block.append(row);
    }
    if (title) blocks.push(make("h3", {}, title));
    blocks.push(block);
  }
  return blocks;
}
