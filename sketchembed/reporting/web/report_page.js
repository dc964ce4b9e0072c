// Drawings that replay, each set in the place that the page keeps for it; the page itself is all there.
const sets = JSON.parse(document.getElementById("drawings").textContent);

for (const place of document.querySelectorAll("[data-drawings]")) {
  const items = sets[Number(place.dataset.drawings)];
  const grid = make("div");
  let coloured = false;
  const show = () => grid.replaceChildren(...rowsOf(items, coloured));
  place.append(
    make("div", {class: "bar"},
      button("Replay all", () => grid.querySelectorAll("svg").forEach(replay)),
      button("Colour strokes", (pressed) => {
        coloured = !coloured;
        pressed.setAttribute("aria-pressed", coloured);
        show();
      }, {"aria-pressed": "false"})),
    make("p", {class: "hint"}, "Shaded: what the model sees. Click a drawing to watch it being drawn."),
    grid,
  );
  show();
}
window.addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll("details.small")) one.open = true;
});
root.dataset.ready = "yes";
