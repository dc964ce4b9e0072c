// Fill the places of the page that show drawings.
for (const place of document.querySelectorAll("[data-drawings]")) {
  const items = data[Number(place.dataset.drawings)];
  const grid = make("div");
  const show = (coloured) => grid.replaceChildren(...itemGrids(items, coloured));
  place.append(
    make("div", {class: "bar"}, replayAllButton(grid), toggle("Colour strokes", show)),
    make("p", {class: "hint"}, "Shaded: input of the model. Click a drawing to replay it."),
    grid,
  );
  show(false);
}
window.addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll("details.small")) one.open = true;
});
root.dataset.ready = "yes";
