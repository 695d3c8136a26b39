// Elements, numbers and packed arrays. Values from data become text, never markup.
"use strict";

const DATA = JSON.parse(document.getElementById("data").textContent);

function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined).map((c) => (c.nodeType ? c : String(c))));
  return node;
}

// same format as prospect_eval.report.page.format_page_number
function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1e6) return (value / 1e6).toFixed(2) + " M";
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return size < 10 ? value.toFixed(3) : value.toFixed(1);
}

function interval(ci) {
  return ci ? `[${number(ci[0])}, ${number(ci[1])}]` : "";
}

function unpack(text, kind) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let k = 0; k < raw.length; k++) bytes[k] = raw.charCodeAt(k);
  const view = new DataView(bytes.buffer);
  const size = kind === "u2" ? 2 : 4;
  const out = new Float64Array(bytes.length / size);
  for (let k = 0; k < out.length; k++) {
    out[k] = kind === "u2" ? view.getUint16(2 * k, true) / 65535 : view.getUint32(4 * k, true);
  }
  return out;
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// seconds as m:ss.s
function clock(seconds) {
  const minutes = Math.floor(seconds / 60);
  const rest = (seconds - 60 * minutes).toFixed(1);
  return minutes ? `${minutes}:${rest.padStart(4, "0")}` : `${rest} s`;
}
