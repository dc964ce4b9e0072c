// The run's data, formats of numbers, and the facts at the top of the page.
const facts = data.facts, curves = data.curves;
const samples = data.samples.filter((one) => one && Number.isFinite(one.step) && Array.isArray(one.items));

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
  // Show an ISO time in the time zone of the machine that ran, without the offset.
  const found = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)/.exec(text);
  return found ? `${found[1]} ${found[2]}` : text;
}

const allCurves = Object.values(curves);
const lastStep = Math.max(0, ...allCurves.map((curve) => curve.step.at(-1)), ...samples.map((one) => one.step));

function showFacts() {
  const from = facts.data || {}, model = facts.model || {};
  const titles = {quickdraw: "Quick, Draw!", omniglot: "Omniglot", doodles: "generated doodles", sketchy: "Sketchy"};
  const source = from.source && (titles[from.source] || String(from.source));
  let warning = facts.announcement || from.announcement;
  if (!warning && source && from.source !== "quickdraw")
    warning = `NOT QUICK, DRAW!: this run trains on ${source}. Its numbers are not comparable with the paper's.`;
  if (warning) page.append(make("div", {class: "banner", role: "alert"}, warning));

  page.append(make("h1", {}, facts.name || "run"));
  const elapsed = Math.max(0, ...allCurves.map((curve) => curve.time.at(-1) || 0));
  const limit = facts.max_steps > 0 ? facts.max_steps : 0;
  const entries = [
    ["state", facts.finished ? "finished" : "unfinished"],
    ["steps", whole(lastStep) + (limit ? ` of ${whole(limit)} (${Math.floor(100 * lastStep / limit)}%)` : "")],
    ["time", elapsed && duration(elapsed) + (facts.max_time ? ` of at most ${facts.max_time}` : "")],
    ["device", facts.device],
    ["preset", facts.preset],
    ["data", source],
    ["training drawings", from.drawings && whole(from.drawings)],
    ["classes", from.classes_seen && `${whole(from.classes_seen)} seen, ${whole(from.classes_unseen || 0)} unseen`],
    ["parameters", facts.parameters && whole(facts.parameters)],
    ["encoder", model.encoder && [model.encoder, model.width].filter(Boolean).join(" ")],
    ["decoder", [model.decoder, model.hidden].filter(Boolean).join(" ")],
    ["z", model.latent && `${model.latent} numbers`],
    ["started", facts.created && moment(String(facts.created))],
    ["version", facts.version],
    ["data digest", from.digest && String(from.digest).slice(0, 16)],
  ];
  const list = make("dl");
  for (const [name, value] of entries)
    if (value) list.append(make("div", {}, make("dt", {}, name), make("dd", {}, String(value))));
  page.append(list);
}
function showNonFinite() {
  const events = Array.isArray(facts.non_finite?.events) ? facts.non_finite.events : [];
  if (!events.length) return;
  // Runs of version 0.1.0 may have gone back to an earlier step.
  const result = (one) => ({skip: "step skipped", rollback: `went back to step ${one.to}`}[one.action] || "run stopped");
  const list = make("ul");
  for (const one of events) list.append(make("li", {}, `step ${whole(one.step)}: ${one.what}; ${result(one)}`));
  const count = Math.max(events.length, facts.non_finite.skipped || 0);
  const title = make("summary", {}, `Steps with NaN or infinite values: ${whole(count)}`);
  page.append(make("details", {open: "", class: "nonfinite"}, title, list));
}
function showConfig() {
  if (!data.config) return;
  page.append(make("details", {}, make("summary", {}, "Configuration"), make("pre", {tabindex: 0}, data.config)));
}
