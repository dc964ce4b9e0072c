// The curves over training steps: one chart per term, and a cursor that all charts share.
const PARTS = [["train", "training"], ["val", "validation"], ["unseen", "validation, unseen classes"]];
const LOSSES = ["loss", "stroke", "pen", "pixel"];
const PANELS = [["loss", "total loss"], ["stroke", "stroke loss"], ["pen", "pen loss"], ["pixel", "pixel loss"],
  ["alpha", "α"], ["lr", "learning rate"], ["grad_norm", "gradient norm"], ["drawings_per_second", "drawings per second"],
  ["kl", "KL divergence of z"]];
const W = 320, H = 186, RIGHT = 10, TOP = 10, BOTTOM = 24;
const DIGIT = 6.4;  // width of a digit in the labels of the axes

const charts = {logarithmic: false, drawn: [], grid: make("div", {class: "charts"})};

// A scale is {f: maps a value to a height, low, high, marks: values with a line, note: text next to the title}.
function linearTicks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw * 0.999);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-6; at += 1) found.push(Number((at * step).toPrecision(8)));
  return found;
}
function linearScale(low, high) {
  if (low > 0 && low < 0.4 * high) low = 0;
  if (low === high) { const room = Math.abs(low) / 10 || 0.5; low -= room; high += room; }
  return {f: (value) => value, low, high, marks: linearTicks(low, high, 4), note: ""};
}
function logScale(low, high) {
  // The stroke loss is the logarithm of a density and may be negative. Then the scale is logarithmic on both
  // sides of zero and linear in between.
  const both = low <= 0, f = both ? (value) => Math.sign(value) * Math.log10(1 + Math.abs(value)) : Math.log10;
  const marks = [];
  for (let power = -12; power < 13; power += 1)
    for (const factor of [1, 2, 5]) {
      const mark = Number((factor * 10 ** power).toPrecision(3));
      if (!both) marks.push(mark);
      else if (mark >= 0.5) marks.push(mark, -mark);
    }
  if (both) marks.push(0);
  const inside = (list) => list.filter((mark) => mark >= low && mark <= high);
  let shown = inside(marks);
  if (shown.length > 6) shown = inside(marks.filter((mark) => mark === 0 || /^-?(1e.*|10*|0\.0*1)$/.test(String(mark))));
  if (shown.length > 6) shown = shown.filter((_, number) => number % Math.ceil(shown.length / 6) === 0);
  if (shown.length < 2) shown = linearTicks(low, high, 3).filter((mark) => both || mark > 0);
  return {f, low, high, marks: shown, note: both ? "log, both signs" : "log"};
}

function tickText(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${value / 1e6}M`;
  if (size >= 1e4) return `${value / 1000}k`;
  return size > 0 && size < 0.001 ? value.toExponential() : short(value);
}

function nearest(steps, wanted) {
  let low = 0, high = steps.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] < wanted) low = middle + 1; else high = middle;
  }
  return low > 0 && wanted - steps[low - 1] < steps[low] - wanted ? low - 1 : low;
}

function chart([term, title]) {
  const lines = PARTS.map(([part]) => ({part, curve: curves[`${part}/${term}`]})).filter((line) => line.curve);
  const finite = lines.flatMap(({curve}) => [...curve.value, ...(curve.low || []), ...(curve.high || [])]).filter((value) => value !== null);
  if (!finite.length) return null;
  const low = finite.reduce((a, b) => Math.min(a, b)), high = finite.reduce((a, b) => Math.max(a, b));
  const log = charts.logarithmic && [...LOSSES, "grad_norm"].includes(term) && low < high;
  const scale = log ? logScale(low, high) : linearScale(low, high);
  const bottom = scale.f(scale.low), top = scale.f(scale.high), end = lastStep || 1;
  const labels = scale.marks.map(tickText);
  const left = Math.max(46, 10 + DIGIT * Math.max(...labels.map((label) => label.length)));
  const x = (step) => left + (W - left - RIGHT) * step / end;
  const y = (value) => TOP + (H - TOP - BOTTOM) * (1 - (scale.f(value) - bottom) / (top - bottom));
  const svg = makeSvg("svg", {class: "chart", viewBox: `0 0 ${W} ${H}`, role: "img", tabindex: 0});

  scale.marks.forEach((value, number) =>
    svg.append(makeSvg("line", {class: "rule", x1: left, x2: W - RIGHT, y1: y(value), y2: y(value)}),
      makeSvg("text", {x: left - 6, y: y(value) + 4, "text-anchor": "end"}, labels[number])));
  for (const step of linearTicks(0, end, 4).filter(Number.isInteger)) {
    const anchor = x(step) > W - RIGHT - 16 ? "end" : "middle";
    svg.append(makeSvg("line", {class: "rule", x1: x(step), x2: x(step), y1: H - BOTTOM, y2: H - BOTTOM + 4}),
      makeSvg("text", {x: anchor === "end" ? W - 1 : x(step), y: H - 7, "text-anchor": anchor}, tickText(step)));
  }
  for (const {part, curve} of lines) {
    if (curve.low) svg.append(makeSvg("path", {class: `range ${part}`, d: band(curve, x, y)}));
    const d = trace(curve, x, y);
    if (d) svg.append(makeSvg("path", {class: `curve ${part}`, d}));
  }

  const cursor = makeSvg("line", {class: "cursor", y1: TOP, y2: H - BOTTOM, visibility: "hidden"});
  const dots = lines.map(({part}) => makeSvg("circle", {class: `dot ${part}`, r: 3, visibility: "hidden"}));
  svg.append(cursor, ...dots);
  const values = make("span", {class: "values"}), place = make("span", {class: "soft"});
  const read = (step) => {
    const at = lines.map(({curve}) => step === null ? curve.step.length - 1 : nearest(curve.step, step));
    const spans = lines.map(({part, curve}, number) => make("span", {class: `of ${part}`}, short(curve.value[at[number]])));
    const shown = lines[0].curve.step[at[0]];
    values.replaceChildren(...spans);
    place.textContent = step === null ? "" : `step ${whole(shown)}`;
    cursor.setAttribute("x1", x(shown));
    cursor.setAttribute("x2", x(shown));
    cursor.setAttribute("visibility", step === null ? "hidden" : "visible");
    dots.forEach((dot, number) => {
      const {curve} = lines[number], value = curve.value[at[number]];
      dot.setAttribute("visibility", step === null || value === null ? "hidden" : "visible");
      if (value !== null) { dot.setAttribute("cx", x(curve.step[at[number]])); dot.setAttribute("cy", y(value)); }
    });
    const text = lines.map(({part, curve}, number) => `${part} ${short(curve.value[at[number]])}`).join(", ");
    svg.setAttribute("aria-label", `${title} over steps; at step ${shown}: ${text}`);
  };
  read(null);
  charts.drawn.push(read);
  const readAll = (step) => charts.drawn.forEach((one) => one(step));
  const point = (event) => {
    const box = svg.getBoundingClientRect();
    const step = ((event.clientX - box.left) / box.width * W - left) / (W - left - RIGHT) * end;
    readAll(Math.max(0, Math.min(end, step)));
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
  svg.addEventListener("pointerleave", () => readAll(null));
  let at = lines[0].curve.step.length - 1;
  svg.addEventListener("keydown", (event) => {
    const move = {ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity}[event.key];
    if (!move) return;
    event.preventDefault();
    at = Math.max(0, Math.min(lines[0].curve.step.length - 1, at + move));
    readAll(lines[0].curve.step[at]);
  });
  svg.addEventListener("blur", () => readAll(null));
  const name = make("b", {}, title, ...(scale.note ? [make("small", {}, ` (${scale.note})`)] : []));
  return make("figure", {}, make("figcaption", {}, name, place, values), svg);
}

function trace(curve, x, y) {
  let d = "", pen = "M";
  curve.value.forEach((value, at) => {
    // NaN and infinite values leave a gap.
    if (value === null) { pen = "M"; return; }
    d += `${pen}${x(curve.step[at]).toFixed(1)},${y(value).toFixed(1)}`;
    pen = "L";
  });
  // A curve with one point is a dot.
  return d.includes("L") || !d ? d : `${d}h0.1`;
}
function band(curve, x, y) {
  const finite = curve.step.map((_, at) => at).filter((at) => curve.low[at] !== null);
  const corner = (list) => (at) => `${x(curve.step[at]).toFixed(1)},${y(list[at]).toFixed(1)}`;
  return `M${[...finite.map(corner(curve.high)), ...finite.reverse().map(corner(curve.low))].join("L")}Z`;
}

function showCurves() {
  const head = make("div", {class: "bar"}, make("h2", {}, "Curves"));
  page.append(head);
  if (!allCurves.length) {
    page.append(make("p", {class: "soft"}, "No metrics yet."));
    return;
  }
  const key = make("div", {class: "key"});
  for (const [part, text] of PARTS)
    if (Object.keys(curves).some((name) => name.startsWith(`${part}/`)))
      key.append(make("span", {}, make("i", {class: `of ${part}`}), text));
  const known = PANELS.map(([term]) => term);
  const others = new Set(Object.keys(curves).map((name) => /^(?:train|val|unseen)\/(.+)$/.exec(name)?.[1]));
  const panels = [...PANELS, ...[...others].filter((term) => term && !known.includes(term)).map((term) => [term, term])];
  const draw = () => {
    charts.drawn = [];
    charts.grid.replaceChildren(...panels.map(chart).filter(Boolean));
  };
  head.append(key, toggle("Log scale", (on) => { charts.logarithmic = on; draw(); },
    {title: "losses and gradient norm on a logarithmic scale"}));
  page.append(charts.grid);
  draw();
}
