// Runs beside the first one: differences of all metrics, the episodes that changed most, and both timelines of each.
"use strict";

const TOLD = ["better", "worse", "differs"];
const HUES = { better: "good", worse: "bad", differs: "off" };

function differences(pair) {
  const body = el("tbody");
  const only = el("input", { type: "checkbox", onchange: () => paint() });
  const rank = (d) => (TOLD.includes(d.verdict) ? 0 : 1);
  function paint() {
    const rows = pair.differences.filter((d) => !only.checked || rank(d) === 0).sort((a, b) => rank(a) - rank(b));
    body.replaceChildren(...rows.map((d) => el("tr", {}, el("td", {}, d.name), el("td", {}, number(d.first)), el("td", {}, number(d.second)),
      el("td", { class: "value" }, `${d.second >= d.first ? "+" : ""}${number(d.second - d.first)}`), el("td", {}, interval(d.ci95)), el("td", {}, d.p === null ? "–" : d.p.toFixed(3)),
      el("td", {}, number(d.detectable)), el("td", {}, d.videos), el("td", { class: HUES[d.verdict] ?? "soft" }, d.verdict))));
  }
  paint();
  const head = ["metric", pair.names[0], pair.names[1], "difference", "95 % interval", "p", "detectable", "videos", "verdict"];
  return [el("div", { class: "bar" }, el("label", {}, only, " only what differs")),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "differences" }, el("table", {}, el("thead", {}, el("tr", {}, ...head.map((name) => el("th", { scope: "col" }, name)))), body))];
}

// two timelines that zoom and move together
function beside(host, names, sides) {
  const lines = [];
  let moving = false;
  const follow = (moved) => {
    if (moving) return;
    moving = true;
    for (const other of lines) if (other !== moved) { other.show(moved.from, moved.to, true); if (moved.at !== null) other.moment(moved.at, true); }
    moving = false;
  };
  for (const [k, side] of sides.entries()) {
    const place = el("div");
    host.append(place);
    lines.push(new Timeline(place, side, names[k], follow));
  }
}

for (const pair of DATA.pairs) {
  const main = document.getElementById("pairs"), charts = el("div");
  main.append(el("h2", {}, `${pair.names[1]} against ${pair.names[0]}`), charts, ...differences(pair));
  differenceChart(charts, pair.differences);
  if (pair.changes.length) main.append(el("h3", {}, "Changed most"));
  for (const change of pair.changes) {
    const place = el("div", { class: "beside" });
    const box = el("details", { class: "change", ontoggle: () => { if (box.open && !place.children.length) beside(place, pair.names, change.sides); } },
      el("summary", {}, el("b", {}, change.episode), ` changed by ${change.score.toFixed(2)}`, ...change.why.map((reason) => el("div", { class: "small" }, reason))), place);
    main.append(box);
  }
}
performance.mark("ready");
document.documentElement.dataset.ready = "yes";
