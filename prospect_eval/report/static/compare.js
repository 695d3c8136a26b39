// Comparison with the first run: differences of all metrics, and the most changed episodes with both timelines.
"use strict";

const HUES = { better: "good", worse: "bad", differs: "off" };

function differences(pair) {
  const body = el("tbody");
  const every = el("input", { type: "checkbox", onchange: () => paint() });
  const tested = (d) => d.verdict !== "exploratory";
  const signed = (value) => `${value >= 0 ? "+" : ""}${number(value)}`;
  const row = (d) => el("tr", {},
    el("td", {}, d.name), el("td", {}, number(d.first)), el("td", {}, number(d.second)),
    el("td", { class: "value" }, signed(d.difference)), el("td", {}, interval(d.ci95)),
    el("td", {}, d.p === null ? "–" : d.p.toFixed(3)), el("td", {}, number(d.detectable)), el("td", {}, d.videos),
    el("td", { class: HUES[d.verdict] ?? "soft", title: d.note }, d.words));
  const paint = () => body.replaceChildren(...pair.differences.filter((d) => every.checked || tested(d)).map(row));
  paint();
  const head = ["metric", pair.names[0], pair.names[1], "difference", "95 % interval", "p (Holm)", "smallest detectable", "clusters", "verdict"];
  const table = el("table", {}, el("thead", {}, el("tr", {}, ...head.map((name) => el("th", { scope: "col" }, name)))), body);
  return [
    ...pair.summary.map((line) => el("p", { class: "small" }, line)),
    el("div", { class: "bar" }, el("label", {}, every, " show exploratory metrics too")),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "differences" }, table),
  ];
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
  // with a single pair the page's title has the same text
  if (DATA.pairs.length > 1) main.append(el("h2", {}, `${pair.names[1]} compared with ${pair.names[0]}`));
  main.append(charts, ...differences(pair));
  differenceChart(charts, pair.differences);
  if (pair.changes.length) main.append(el("h3", {}, "Episodes with the largest changes"));
  for (const change of pair.changes) {
    const place = el("div", { class: "beside" });
    const box = el("details", { class: "change", ontoggle: () => { if (box.open && !place.children.length) beside(place, pair.names, change.sides); } },
      el("summary", {}, el("b", {}, change.episode), ` change ${change.score.toFixed(2)}`, ...change.why.map((reason) => el("div", { class: "small" }, reason))), place);
    main.append(box);
  }
}
performance.mark("ready");
document.documentElement.dataset.ready = "yes";
