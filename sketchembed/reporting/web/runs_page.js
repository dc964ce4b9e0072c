// Sort and filter the table.
const table = document.getElementById("runs");

function valueOf(row, column) {
  const cell = row.cells[column], text = cell.dataset.value ?? cell.textContent;
  const number = Number(text);
  return text === "" ? null : Number.isNaN(number) ? text : number;
}
function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), "en", {numeric: true});
}
function sortBy(heading, descending) {
  const column = heading.cellIndex, body = table.tBodies[0];
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const rows = [...body.rows].map((row) => [valueOf(row, column), row]);
  // Runs without a value come last in both directions.
  rows.sort(([one], [other]) => (one === null) - (other === null) || (one === null ? 0 : compare(one, other) * (descending ? -1 : 1)));
  body.append(...rows.map(([, row]) => row));
}

if (table) {
  for (const heading of table.tHead.rows[0].cells) {
    if (heading.classList.contains("sketches")) continue;
    const press = make("button", {type: "button"}, ...heading.childNodes);
    press.addEventListener("click", () => sortBy(heading, heading.getAttribute("aria-sort") === "ascending"));
    heading.append(press);
  }
  const rows = [...table.tBodies[0].rows];
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const count = make("output", {for: "filter"});
  const filter = make("input", {type: "search", id: "filter", placeholder: "Filter by words in any column", "aria-label": "filter the runs"});
  const show = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !words.every((word) => texts.get(row).includes(word));
      shown += !row.hidden;
    }
    count.textContent = words.length ? `${shown} of ${rows.length}` : "";
  };
  filter.addEventListener("input", show);
  document.getElementById("bar").append(filter, count);
  sortBy([...table.tHead.rows[0].cells].find((heading) => heading.textContent === "started"), true);
}
root.dataset.ready = "yes";
