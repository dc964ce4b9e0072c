// The run's data, how numbers are written, and the facts at the top.
const run = JSON.parse(document.getElementById("run").textContent);
const facts = run.facts, curves = run.curves;
const samples = run.samples.filter((one) => one && Number.isFinite(one.step) && Array.isArray(one.items));

const whole = (number) => Number(number).toLocaleString("en");
function short(value) {
  if (value === null || value === undefined) return "not finite";
  const size = Math.abs(value);
  if (size >= 10000) return whole(Math.round(value));
  if (size > 0 && size < 1e-4) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}
function duration(seconds) {
  const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60), days = Math.floor(hours / 24);
  if (days) return `${days} d ${hours % 24} h`;
  if (hours) return `${hours} h ${minutes % 60} min`;
  return minutes ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.round(seconds)} s`;
}
function moment(text) {
  // An ISO time is shown as it was written, on the clock of the machine that ran, without its offset.
  const found = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)/.exec(text);
  return found ? `${found[1]} ${found[2]}` : text;
}

const allCurves = Object.values(curves);
const lastStep = Math.max(0, ...allCurves.map((curve) => curve.step.at(-1)), ...samples.map((one) => one.step));

function showFacts() {
  const data = facts.data || {}, model = facts.model || {};
  const titles = {quickdraw: "Quick, Draw!", omniglot: "Omniglot", doodles: "generated doodles", sketchy: "Sketchy"};
  const source = data.source && (titles[data.source] || String(data.source));
  let warning = facts.announcement || data.announcement;
  if (!warning && source && data.source !== "quickdraw")
    warning = `NOT QUICK, DRAW!: this run's drawings are ${source}. Its numbers are not the paper's.`;
  if (warning) page.append(make("div", {class: "banner", role: "alert"}, warning));

  document.title = `${facts.name || "run"} · sketchembed`;
  page.append(make("h1", {}, facts.name || "run"));
  const elapsed = Math.max(0, ...allCurves.map((curve) => curve.time.at(-1) || 0));
  const limit = facts.max_steps > 0 ? facts.max_steps : 0;
  const drawn = [model.decoder, model.hidden].filter(Boolean).join(" ");
  const entries = [
    ["state", facts.finished ? "finished" : "unfinished"],
    ["steps", whole(lastStep) + (limit ? ` of ${whole(limit)} (${Math.floor(100 * lastStep / limit)}%)` : "")],
    ["time", elapsed && duration(elapsed) + (facts.max_time ? ` of at most ${facts.max_time}` : "")],
    ["device", facts.device],
    ["preset", facts.preset],
    ["data", source],
    ["training drawings", data.drawings && whole(data.drawings)],
    ["classes", data.classes_seen && `${whole(data.classes_seen)} seen, ${whole(data.classes_unseen || 0)} unseen`],
    ["parameters", facts.parameters && whole(facts.parameters)],
    ["encoder", model.encoder && [model.encoder, model.width].filter(Boolean).join(" ")],
    ["decoder", drawn],
    ["z", model.latent && `${model.latent} numbers`],
    ["started", facts.created && moment(String(facts.created))],
    ["version", facts.version],
    ["data digest", data.digest && String(data.digest).slice(0, 16)],
  ];
  const list = make("dl");
  for (const [name, value] of entries)
    if (value) list.append(make("div", {}, make("dt", {}, name), make("dd", {}, String(value))));
  page.append(list);
}
function showNonFinite() {
  const found = facts.non_finite || {}, events = Array.isArray(found.events) ? found.events : [];
  if (!events.length) return;
  const then = (one) => ({skip: "left out", rollback: `went back to step ${one.to}`}[one.action] || "the run stopped");
  const parts = [
    found.skipped && `${whole(found.skipped)} left out`, found.rollbacks && `${whole(found.rollbacks)} gone back from`,
    events.at(-1).action === "stop" && "the run stopped",
  ].filter(Boolean);
  const list = make("ul");
  for (const one of events) list.append(make("li", {}, `step ${whole(one.step)}: ${one.what}; ${then(one)}`));
  const title = make("summary", {}, `Steps that were not finite: ${parts.join(", ")}`);
  page.append(make("details", {open: "", class: "nonfinite"}, title, list));
}
function showConfig() {
  if (!run.config) return;
  page.append(make("details", {}, make("summary", {}, "Configuration"), make("pre", {tabindex: 0}, run.config)));
}
