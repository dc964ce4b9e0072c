"use strict";
// Helpers of all pages.
const root = document.documentElement;
// Tests read this attribute, which contains the messages of all errors.
window.addEventListener("error", (event) => { root.dataset.errors += `${event.message}; `; });

// A page of something that is still running is written again every minute. It is not reloaded while it is used.
if ("live" in root.dataset)
  setInterval(() => { if (document.activeElement === document.body) location.reload(); }, 60000);

const page = document.getElementById("page");
const data = JSON.parse(document.getElementById("data").textContent);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}
function makeSvg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}
function button(text, action, attributes = {}) {
  const element = make("button", {type: "button", ...attributes}, text);
  element.addEventListener("click", () => action(element));
  return element;
}
// A button that is on or off; `action` gets its new state.
function toggle(text, action, attributes = {}) {
  let on = false;
  return button(text, (element) => {
    on = !on;
    element.setAttribute("aria-pressed", on);
    action(on);
  }, {"aria-pressed": "false", ...attributes});
}
