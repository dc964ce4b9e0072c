"use strict";
// What every page of the project is made of.
const root = document.documentElement;
// A test reads this attribute; it stays empty unless something on the page fails.
window.addEventListener("error", (event) => { root.dataset.errors += `${event.message}; `; });

const page = document.getElementById("page");

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
function shape(tag, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text) element.textContent = text;
  return element;
}
function button(text, action, attributes = {}) {
  const element = make("button", {type: "button", ...attributes}, text);
  element.addEventListener("click", () => action(element));
  return element;
}
