"use strict";
// What every page uses. Text goes in as text nodes only, never as HTML.

const DATA = JSON.parse(document.getElementById("data").textContent);
const get = (id) => document.getElementById(id);
const known = (value) => value !== null && value !== undefined;
const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;

function element(tag, attributes = {}, ...children) {
  const svg = ["svg", "polygon", "path", "line", "title"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

function fill(select, choices) {
  select.replaceChildren(...choices.map(([value, text]) => element("option", { value }, text)));
}
